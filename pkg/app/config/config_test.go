package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/app/config"
)

type pool struct {
	Warehouses []string `yaml:"warehouses"`
	Oversell   bool     `yaml:"oversell"`
}

type inventory struct {
	Stock string          `yaml:"stock"`
	Pools map[string]pool `yaml:"pools"`
}

func (c *inventory) Validate() error {
	for name, p := range c.Pools {
		if len(p.Warehouses) == 0 {
			return fmt.Errorf("pool %s has no warehouse", name)
		}
	}
	return nil
}

const full = `
kafka:    {brokers: [127.0.0.1:9092], tls: {ca: , cert: , key: }, sasl: {mechanism: SCRAM-SHA-512, user: , password: env:KAFKA_PASSWORD}}
registry: {url: http://127.0.0.1:8081, user: , password: , ca: }
database: {url: "sqlite:.spine/spine.db", max_connections: 20}   # or postgres://…
intake:   {listen: 127.0.0.1:8080, max_body: 2MiB, spool: .spine/spool.db}
ops:      {listen: 127.0.0.1:8090}        # health, metrics
instances:
  shopify/uk:
    secret: env:SHOPIFY_UK_SECRET
    previous_secret: env:SHOPIFY_UK_SECRET_OLD
    base_currency: GBP
    time_zone: Europe/London
    legal_entity: 0123
    warehouses: [wms/east, wms/west]
    shop_domain: uk.myshopify.com
    tax_policy: LINE_HALF_UP
    calendar: gb-eng
    payment_days: 30
groups:
  inventory: {stock: stock.csv, pools: {main: {warehouses: [wms/east], oversell: true}}, database: {url: "sqlite:own.db"}}
`

func load(t *testing.T, text string, env map[string]string, flags map[string]string) (*config.Loaded, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "spine.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(config.Source{
		File: file, Env: env, Flags: flags, DataDir: ".spine",
		Groups: map[string]any{"inventory": &inventory{}, "analytics": nil}, Systems: []string{"shopify", "magento"},
	})
}

func TestLoad_whole(t *testing.T) {
	t.Parallel()
	l, err := load(t, full, map[string]string{
		"SPINE_KAFKA_BROKERS": "a:1,b:2", "SPINE_INSTANCES_SHOPIFY_UK_PAYMENT_DAYS": "14", "SPINE_GROUPS_INVENTORY_POOLS_MAIN_OVERSELL": "false",
		"SHOPIFY_UK_SECRET": "s1", "SHOPIFY_UK_SECRET_OLD": "s0",
	}, map[string]string{"ops.listen": "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	uk := l.InstanceSettings()["shopify/uk"]
	if uk.LegalEntity != "0123" || uk.PaymentDays != 14 || uk.Name != "uk" {
		t.Errorf("instance %+v", uk)
	}
	if d := cmp.Diff([]string{"a:1", "b:2"}, l.Kafka.Brokers); d != "" || l.Ops.Listen != "127.0.0.1:0" || l.Intake.MaxBody != 2<<20 {
		t.Errorf("overrides: %s %+v", d, l.Config)
	}
	own, _ := l.Groups["inventory"].Own.(*inventory)
	if own.Stock != "stock.csv" || own.Pools["main"].Oversell || l.Groups["inventory"].Database.URL != "sqlite:own.db" {
		t.Errorf("group %+v", own)
	}
	secrets, err := l.Secrets("shopify/uk")
	if err != nil || len(secrets) != 2 || string(secrets[0]) != "s1" || string(secrets[1]) != "s0" {
		t.Errorf("secrets %q, %v", secrets, err)
	}
	origins := map[string]string{}
	for _, v := range l.Values() {
		origins[v.Path] = v.Value + " from " + filepath.Base(v.Origin)
	}
	for path, want := range map[string]string{
		"kafka.brokers":                  "a:1,b:2 from env SPINE_KAFKA_BROKERS",
		"ops.listen":                     "127.0.0.1:0 from flag",
		"instances.shopify/uk.secret":    "env:SHOPIFY_UK_SECRET from spine.yaml:9:13",
		"groups.inventory.stock":         "stock.csv from spine.yaml:20:22",
		"groups.inventory.concurrency":   "0 from default",
		"intake.max_body":                "2MiB from spine.yaml:5:46",
		"instances.shopify/uk.time_zone": "Europe/London from spine.yaml:12:16",
	} {
		if origins[path] != want {
			t.Errorf("%s = %q, want %q", path, origins[path], want)
		}
	}
}

func TestLoad_refused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		env  map[string]string
		want []string
	}{
		"unknown key":        {"kafka:\n  broker: [a]\n", nil, []string{"spine.yaml:2:3: unknown key kafka.broker: did you mean brokers?"}},
		"two unknown keys":   {"kafkaa: {}\nzzzzzzzzz: 1\n", nil, []string{"1:1: unknown key kafkaa: did you mean kafka?", "2:1: unknown key zzzzzzzzz: known keys are"}},
		"unknown group":      {"groups: {inventry: {}}\n", nil, []string{"1:10: unknown key groups.inventry: did you mean inventory?"}},
		"key of a group":     {"groups: {inventory: {stok: a}}\n", nil, []string{"did you mean stock?"}},
		"literal secret":     {"instances: {shopify/uk: {secret: hush}}\n", nil, []string{"1:34: instances.shopify/uk.secret: a secret stands here in clear"}},
		"bad number":         {"database: {max_connections: many}\n", nil, []string{"1:29: database.max_connections: \"many\": want a whole number"}},
		"bad zone":           {"instances: {shopify/uk: {time_zone: London}}\n", nil, []string{"time_zone: \"London\" is no IANA zone"}},
		"bad instance":       {"instances: {Shopify: {time_zone: UTC}}\n", nil, []string{"want <system>/<name>"}},
		"no adapter":         {"instances:\n  magneto/uk: {time_zone: UTC}\n", nil, []string{"spine.yaml:2:3: instances.magneto/uk: no adapter magneto in this binary: did you mean magento?"}},
		"bad pool":           {"groups:\n  inventory: {pools: {main: {}}}\n", nil, []string{"spine.yaml:2:3: groups.inventory: pool main has no warehouse"}},
		"negative keep_dead": {"groups: {inventory: {keep_dead: -1h}}\n", nil, []string{"1:33: groups.inventory.keep_dead: -1h0m0s: want a duration, such as 2160h"}},
		"negative attempts":  {"groups: {inventory: {attempts: -1}}\n", nil, []string{"1:32: groups.inventory.attempts: -1: want 1 or more"}},
		"on exhausted":       {"groups: {inventory: {on_exhausted: drop}}\n", nil, []string{"groups.inventory.on_exhausted: \"drop\": want hold or release"}},
		"deadline":           {"groups: {inventory: {deadline: soon}}\n", nil, []string{"\"soon\": want a duration, such as 30s"}},
		"protocol":           {"groups: {inventory: {protocol: eager}}\n", nil, []string{"groups.inventory.protocol: \"eager\": want classic or consumer"}},
		"password in URL":    {"database: {url: \"postgres://u:hush@h/db\"}\n", nil, []string{"a password stands here in clear"}},
		"no list":            {"kafka: {brokers: a}\n", nil, []string{"want a list"}},
		"twice":              {"kafka: {}\nkafka: {}\n", nil, []string{"kafka"}},
		"no yaml":            {"kafka: [\n", nil, []string{"spine.yaml"}},
		"environment":        {"", map[string]string{"SPINE_INTAKE_MAX_BODY": "lots"}, []string{"SPINE_INTAKE_MAX_BODY: \"lots\": want a size"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, c.text, c.env, nil)
			if !errors.Is(err, config.ErrInvalid) {
				t.Fatalf("got %v, want an error that is ErrInvalid", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestLoad_noFileIsTheDefault(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Source{File: "does-not-exist.yaml"})
	if !errors.Is(err, config.ErrInvalid) {
		t.Errorf("a named file that is missing: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(full)
	f.Add("a: &x [*x]")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := load(t, text, nil, nil)
		if err != nil && !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%v is not ErrInvalid", err)
		}
	})
}
