package inventory

import "github.com/eventspine/spine/pkg/event"

// Demo stocks the articles of a demo in the first warehouse of each shop: plenty of
// all but the last one, which runs out, as something always does.
func (c *Config) Demo(shops []event.Instance, skus []string) {
	if c.Stock != "" || len(c.Levels) > 0 || len(c.Pools) > 0 {
		return // somebody has said what there is
	}
	c.Pools = map[string]Pool{}
	stocked := map[string]bool{}
	for _, shop := range shops {
		if len(shop.Warehouses) == 0 || stocked[shop.Warehouses[0]] {
			continue
		}
		warehouse := shop.Warehouses[0]
		stocked[warehouse] = true
		c.Pools[shop.Name] = Pool{Warehouses: []string{warehouse}}
		for i, sku := range skus {
			onHand := "1000000"
			if i == len(skus)-1 {
				onHand = "5"
			}
			c.Levels = append(c.Levels, Level{SKU: sku, Warehouse: warehouse, OnHand: onHand})
		}
	}
}
