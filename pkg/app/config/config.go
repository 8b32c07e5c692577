// Package config reads the configuration of Spine: flag over environment over file
// over default. It is strict: an unknown key is an error with file, line, column and
// the nearest known key. Every leaf has an environment variable (kafka.brokers is
// SPINE_KAFKA_BROKERS). A secret is a reference, env:NAME or file:PATH; a literal
// secret is refused.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/event"
)

// ErrInvalid marks every error that the operator's input caused: exit code 2.
var ErrInvalid = errors.New("invalid configuration")

// Config is the whole configuration, effective values.
type Config struct {
	Kafka     Kafka               `yaml:"kafka"`
	Registry  Registry            `yaml:"registry"`
	Database  Database            `yaml:"database"`
	Intake    Intake              `yaml:"intake"`
	Ops       Ops                 `yaml:"ops"`
	Alarms    Alarms              `yaml:"alarms"`
	Instances map[string]Instance `yaml:"instances"`
	Groups    map[string]*Group   `yaml:"groups"`
}

// Kafka is the broker.
type Kafka struct {
	Brokers []string `yaml:"brokers"`
	TLS     TLS      `yaml:"tls"`
	SASL    SASL     `yaml:"sasl"`
}

// TLS are PEM files. Any of them switches TLS on.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// SASL is how Spine proves itself to the broker: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512.
type SASL struct {
	Mechanism string `yaml:"mechanism"`
	User      string `yaml:"user"`
	Password  Secret `yaml:"password"`
}

// Registry is the Confluent-compatible schema registry.
type Registry struct {
	URL      string `yaml:"url"`
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
	CA       string `yaml:"ca"`
}

// Database is a store of groups: sqlite:PATH or postgres://….
type Database struct {
	URL            string `yaml:"url"`
	MaxConnections int    `yaml:"max_connections"`
}

// Intake is the HTTP side.
type Intake struct {
	Listen  string `yaml:"listen"`
	MaxBody Size   `yaml:"max_body"`
	Spool   string `yaml:"spool"`
}

// Ops is where health and metrics are served.
type Ops struct {
	Listen string `yaml:"listen"`
}

// Alarms are how people are told of a first dead letter and of a full waiting room.
type Alarms struct {
	Webhook Secret        `yaml:"webhook"` // URL of a Slack-compatible webhook; unset = the log alone
	Every   time.Duration `yaml:"every"`   // the same alarm no sooner again
}

// Instance is one installation of a system.
type Instance struct {
	Secret         Secret   `yaml:"secret"`
	PreviousSecret Secret   `yaml:"previous_secret"` // also accepted while a rotation lasts
	BaseCurrency   string   `yaml:"base_currency"`
	TimeZone       string   `yaml:"time_zone"`
	LegalEntity    string   `yaml:"legal_entity"`
	Warehouses     []string `yaml:"warehouses"`
	ShopDomain     string   `yaml:"shop_domain"`
	TaxPolicy      string   `yaml:"tax_policy"`
	Calendar       string   `yaml:"calendar"`
	PaymentDays    int      `yaml:"payment_days"`
	V1Shipping     bool     `yaml:"v1_total_includes_shipping"`
}

// Group is what every group can be told, beside its own keys.
type Group struct {
	Database    Database `yaml:"database"`    // a store of its own; unset = the common one
	Concurrency int      `yaml:"concurrency"` // keys handled at a time; 0 = 64
	Batch       int      `yaml:"batch"`       // records of different keys that may share a transaction; 0 = 32, 1 = each has its own

	// AtLeastOnce runs the group without its inbox: an event is handled again where its
	// delivery is repeated, after a crash or a rebalance, and where the same event stands
	// at another offset. Nothing is lost, keys keep their order, waiting and dead rows
	// are as ever. Handlers have to be idempotent by themselves. A fact that is published
	// again has the id that it had, an effect is asked for once by its key. The audit
	// takes what is below the group's offsets for handled and can't see what was handled
	// again; a replay handles all of its range. Turned off again, the group has no inbox
	// of the time before, and the audit misses those events.
	AtLeastOnce bool `yaml:"at_least_once"`

	Attempts    int           `yaml:"attempts"`     // of a failing record, before it is a dead letter; 0 = 5
	Deadline    time.Duration `yaml:"deadline"`     // of one call of a handler; 0 = 1 min
	OnExhausted string        `yaml:"on_exhausted"` // what a dead letter does to its key: hold (or "") or release
	Protocol    string        `yaml:"protocol"`     // of group membership: classic (or "") or consumer (KIP-848)
	WaitingRoom Size          `yaml:"waiting_room"` // bytes that may wait or be dead before the partitions are paused
	KeepDead    time.Duration `yaml:"keep_dead"`    // of a dead row that nobody waits behind, before it is dropped; 0 = for good

	Own any `yaml:",inline"` // consumer.Group.Config; nil = no keys of its own
}

const waitingRoom Size = 256 << 20

// KeepDeadOf is for how long a group keeps a dead row that nobody waits behind; 0 = for
// good.
func (c Config) KeepDeadOf(group string) time.Duration {
	if g := c.Groups[group]; g != nil {
		return g.KeepDead
	}
	return 0
}

// WaitingRoomOf is the limit of a group's waiting room.
func (c Config) WaitingRoomOf(group string) Size {
	if g := c.Groups[group]; g != nil && g.WaitingRoom > 0 {
		return g.WaitingRoom
	}
	return waitingRoom
}

// DatabaseOf is the store of a group: its own, or the common one.
func (c Config) DatabaseOf(group string) Database {
	d := c.Database
	if g := c.Groups[group]; g != nil && g.Database.URL != "" {
		d.URL = g.Database.URL
	}
	if g := c.Groups[group]; g != nil && g.Database.MaxConnections != 0 {
		d.MaxConnections = g.Database.MaxConnections
	}
	return d
}

// Default is the configuration of one machine without set-up, its files below dataDir.
func Default(dataDir string) Config {
	return Config{
		Kafka:    Kafka{Brokers: []string{"127.0.0.1:9092"}},
		Registry: Registry{URL: "http://127.0.0.1:8081"},
		Database: Database{URL: "sqlite:" + dataDir + "/spine.db", MaxConnections: 20},
		Intake:   Intake{Listen: "127.0.0.1:8080", MaxBody: 2 << 20, Spool: dataDir + "/spool.db"},
		Ops:      Ops{Listen: "127.0.0.1:8090"},
		Alarms:   Alarms{Every: time.Hour},
	}
}

// Source says where the configuration comes from.
type Source struct {
	File    string            // --config; "" = SPINE_CONFIG, else spine.yaml if it is there
	Env     map[string]string // the environment
	Flags   map[string]string // path → value, "kafka.brokers" → "a:1,b:2", from flags that were set
	DataDir string            // where defaults put files
	Groups  map[string]any    // consumer.Group.Config per group, nil values allowed
	Systems []string          // of which there may be instances; nil = any
	// Instances stand where the file names none, for a demo.
	Instances map[string]Instance
}

// Loaded is the configuration with the origin of every value.
type Loaded struct {
	Config
	File    string            // the file that was read, "" = none
	origins map[string]string // path → origin; unset = default
	env     map[string]string
}

// Load reads, overrides and validates. Errors wrap ErrInvalid.
func Load(s Source) (*Loaded, error) {
	l := &Loaded{Config: Default(s.DataDir), origins: map[string]string{}, env: s.Env}
	l.Groups = map[string]*Group{}
	for name, own := range s.Groups {
		if d, ok := own.(interface{ Defaults(dataDir string) }); ok {
			d.Defaults(s.DataDir)
		}
		l.Groups[name] = &Group{Own: own, WaitingRoom: waitingRoom}
	}
	if err := l.read(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(l.Instances) == 0 {
		l.Instances = s.Instances
	}
	if err := errors.Join(l.fromEnv(), l.fromFlags(s.Flags)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := l.validate(s.Systems); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return l, nil
}

func (l *Loaded) read(s Source) error {
	file, named := s.File, true
	if file == "" {
		file = s.Env["SPINE_CONFIG"]
	}
	if file == "" {
		file, named = "spine.yaml", false
	}
	src, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	l.File = file
	return decode(file, src, &l.Config, l.origins)
}

// InstanceSettings is what handlers and adapters may know of an instance.
func (c Config) InstanceSettings() map[string]event.Instance {
	all := make(map[string]event.Instance, len(c.Instances))
	for name, in := range c.Instances {
		system, short, _ := strings.Cut(name, "/")
		all[name] = event.Instance{
			System: system, Name: short, BaseCurrency: in.BaseCurrency, TimeZone: in.TimeZone, LegalEntity: in.LegalEntity,
			Warehouses: in.Warehouses, ShopDomain: in.ShopDomain, TaxPolicy: in.TaxPolicy, Calendar: in.Calendar,
			PaymentDays: in.PaymentDays, V1Shipping: in.V1Shipping,
		}
	}
	return all
}

// Secrets resolves the secrets of an instance: the current one, then the previous.
func (l *Loaded) Secrets(instance string) ([][]byte, error) {
	in := l.Instances[instance]
	var secrets [][]byte
	for _, ref := range []Secret{in.Secret, in.PreviousSecret} {
		if ref == "" {
			continue
		}
		value, err := l.Resolve(ref)
		if err != nil {
			return nil, fmt.Errorf("secret of %s: %w", instance, err)
		}
		secrets = append(secrets, []byte(value))
	}
	return secrets, nil
}

// complain adds an error about the value at a path.
type complain func(path, format string, args ...any)

func (l *Loaded) validate(systems []string) error {
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", l.where(path), fmt.Sprintf(format, args...)))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Instances)) {
		l.Instances[name].validate(name, systems, bad)
	}
	if err := checkDatabase(l.Database.URL, l.origins["database.url"]); err != nil {
		bad("database.url", "%v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Groups)) {
		l.validateGroup(name, bad)
	}
	if l.Alarms.Every <= 0 {
		bad("alarms.every", "%s: want more than nothing, such as 1h", l.Alarms.Every)
	}
	if !slices.Contains([]string{"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}, l.Kafka.SASL.Mechanism) {
		bad("kafka.sasl.mechanism", "%q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", l.Kafka.SASL.Mechanism)
	}
	return errors.Join(errs...)
}

func (in Instance) validate(name string, systems []string, bad complain) {
	path := "instances." + name
	if _, err := event.ParseInstance(name); err != nil {
		bad(path, "%v", err)
	} else if system, _, _ := strings.Cut(name, "/"); systems != nil && !slices.Contains(systems, system) {
		bad(path, "no adapter %s in this binary%s", system, suggestion(system, systems))
	}
	if _, err := time.LoadLocation(in.TimeZone); err != nil {
		bad(path+".time_zone", "%q is no IANA zone, such as Europe/London", in.TimeZone)
	}
	if in.BaseCurrency != "" && !isCurrency(in.BaseCurrency) {
		bad(path+".base_currency", "%q is no ISO 4217 code, such as GBP", in.BaseCurrency)
	}
	if !slices.Contains([]string{"", "LINE_HALF_UP", "LINE_HALF_EVEN", "DOCUMENT_HALF_UP"}, in.TaxPolicy) {
		bad(path+".tax_policy", "%q: want LINE_HALF_UP, LINE_HALF_EVEN or DOCUMENT_HALF_UP", in.TaxPolicy)
	}
	if in.PaymentDays < 0 {
		bad(path+".payment_days", "%d: want 0 or more", in.PaymentDays)
	}
}

// maxBatch bounds groups.<name>.batch: one statement marks a whole batch.
const maxBatch = 1000

func (l *Loaded) validateGroup(name string, bad complain) {
	path, g := "groups."+name, l.Groups[name]
	if g.Database.URL != "" {
		if err := checkDatabase(g.Database.URL, l.origins[path+".database.url"]); err != nil {
			bad(path+".database.url", "%v", err)
		}
	}
	if g.Batch < 0 || g.Batch > maxBatch {
		bad(path+".batch", "%d: want 1 to %d", g.Batch, maxBatch)
	}
	if g.Concurrency < 0 {
		bad(path+".concurrency", "%d: want 1 or more", g.Concurrency)
	}
	if g.Attempts < 0 {
		bad(path+".attempts", "%d: want 1 or more", g.Attempts)
	}
	if g.Deadline < 0 {
		bad(path+".deadline", "%s: want a duration, such as 30s", g.Deadline)
	}
	if g.KeepDead < 0 {
		bad(path+".keep_dead", "%s: want a duration, such as 2160h", g.KeepDead)
	}
	if !slices.Contains([]string{"", "hold", "release"}, g.OnExhausted) {
		bad(path+".on_exhausted", "%q: want hold or release", g.OnExhausted)
	}
	if !slices.Contains([]string{"", "classic", "consumer"}, g.Protocol) {
		bad(path+".protocol", "%q: want classic or consumer", g.Protocol)
	}
	if v, ok := g.Own.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			bad(path, "%v", err)
		}
	}
}

func isCurrency(s string) bool {
	return len(s) == 3 && strings.ToUpper(s) == s && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// where names a value for an error: the place it was set at, and its path.
func (l *Loaded) where(path string) string {
	if origin := l.origins[path]; origin != "" {
		return origin + ": " + path
	}
	return path
}
