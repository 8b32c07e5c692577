package inventory

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
)

// Config is groups.inventory of the configuration.
type Config struct {
	Stock  string          `yaml:"stock"`  // CSV file: sku,warehouse,on_hand
	Levels []Level         `yaml:"levels"` // the same, inline; both may be given for different articles
	Pools  map[string]Pool `yaml:"pools"`

	seeds map[place]int64   // filled by Validate
	pools map[string]string // warehouse → pool, filled by Validate
}

// Level is the stock of one article in one warehouse when it is first touched.
type Level struct {
	SKU       string `yaml:"sku"`
	Warehouse string `yaml:"warehouse"` // wms/east
	OnHand    string `yaml:"on_hand"`   // decimal with at most 4 places, 0 or more
}

// Pool is a set of warehouses that serves the same shops.
type Pool struct {
	Warehouses []string `yaml:"warehouses"`
	Oversell   bool     `yaml:"oversell"` // reserve beyond what is on hand
}

// place is where an article lies.
type place struct{ SKU, Warehouse string }

// Validate reads the stock and checks that it and the pools fit together.
func (c *Config) Validate() error {
	c.seeds = map[place]int64{}
	errs := c.checkPools()
	for i, l := range c.Levels {
		if err := c.seed(l); err != nil {
			errs = append(errs, fmt.Errorf("levels[%d]: %w", i, err))
		}
	}
	if c.Stock != "" {
		f, err := os.Open(c.Stock)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("stock: %w", err))...)
		}
		err = c.readStock(c.Stock, f)
		errs = append(errs, err, f.Close())
	}
	return errors.Join(errs...)
}

func (c *Config) checkPools() (errs []error) {
	c.pools = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		if len(c.Pools[name].Warehouses) == 0 {
			errs = append(errs, fmt.Errorf("pools.%s: names no warehouse", name))
		}
		for _, w := range c.Pools[name].Warehouses {
			if _, err := event.ParseInstance(w); err != nil {
				errs = append(errs, fmt.Errorf("pools.%s: warehouse %q: want <system>/<name>, such as wms/east", name, w))
			}
			if other, taken := c.pools[w]; taken {
				errs = append(errs, fmt.Errorf("pools.%s: warehouse %s stands in pool %s already", name, w, other))
			}
			c.pools[w] = name
		}
	}
	return errs
}

func (c *Config) seed(l Level) error {
	if l.SKU == "" || strings.TrimSpace(l.SKU) != l.SKU {
		return fmt.Errorf("sku %q: want a stock keeping unit without surrounding space", l.SKU)
	}
	if _, err := event.ParseInstance(l.Warehouse); err != nil {
		return fmt.Errorf("warehouse %q: want <system>/<name>, such as wms/east", l.Warehouse)
	}
	d, err := money.Parse(l.OnHand)
	if err != nil {
		return fmt.Errorf("on_hand %q: %w", l.OnHand, err)
	}
	n, err := d.Units(scale)
	if err != nil || n < 0 {
		return fmt.Errorf("on_hand %q: want 0 or more, with at most %d decimal places", l.OnHand, scale)
	}
	at := place{l.SKU, l.Warehouse}
	if _, twice := c.seeds[at]; twice {
		return fmt.Errorf("%s in %s is given twice", l.SKU, l.Warehouse)
	}
	c.seeds[at] = n
	if len(c.Pools) == 0 {
		c.pools[l.Warehouse] = "main"
	}
	return nil
}

const byteOrderMark = "\ufeff" // spreadsheets write one

// readStock reads the CSV file: a header with the columns sku, warehouse and on_hand in
// any order, then a row per article and warehouse.
func (c *Config) readStock(name string, r io.Reader) error {
	in := csv.NewReader(r)
	in.TrimLeadingSpace = true
	header, err := in.Read()
	if err != nil {
		return fmt.Errorf("%s: reading the header sku,warehouse,on_hand: %w", name, err)
	}
	header[0] = strings.TrimPrefix(header[0], byteOrderMark)
	col := map[string]int{}
	for i, h := range header {
		col[strings.ToLower(strings.TrimSpace(h))] = i
	}
	for _, want := range []string{"sku", "warehouse", "on_hand"} {
		if _, ok := col[want]; !ok {
			return fmt.Errorf("%s:1: column %s is missing: want the header sku,warehouse,on_hand", name, want)
		}
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		l := Level{SKU: strings.TrimSpace(row[col["sku"]]), Warehouse: strings.TrimSpace(row[col["warehouse"]]), OnHand: strings.TrimSpace(row[col["on_hand"]])}
		if err := c.seed(l); err != nil {
			at, _ := in.FieldPos(0)
			return fmt.Errorf("%s:%d: %w", name, at, err)
		}
	}
}

// served is the pool as one instance sees it.
type served struct {
	Name       string
	Warehouses []string // in order of preference
	Oversell   bool
}

// poolOf finds the pool that serves an instance.
func (c *Config) poolOf(in event.Instance) (served, error) {
	if c.seeds == nil {
		return served{}, errors.New("finding the pool: Config.Validate was not called")
	}
	members := map[string][]string{}
	for w, pool := range c.pools {
		members[pool] = append(members[pool], w)
	}
	name := "none"
	if len(in.Warehouses) == 0 && len(members) == 1 {
		name = slices.Collect(maps.Keys(members))[0]
	}
	for _, w := range slices.Backward(in.Warehouses) {
		if pool, ok := c.pools[w]; ok {
			name = pool
		}
	}
	s := served{Name: name, Oversell: c.Pools[name].Oversell}
	for _, w := range in.Warehouses {
		if c.pools[w] == name {
			s.Warehouses = append(s.Warehouses, w)
		}
	}
	rest := c.Pools[name].Warehouses
	if len(c.Pools) == 0 {
		slices.Sort(members[name])
		rest = members[name]
	}
	for _, w := range rest {
		if !slices.Contains(s.Warehouses, w) {
			s.Warehouses = append(s.Warehouses, w)
		}
	}
	return s, nil
}
