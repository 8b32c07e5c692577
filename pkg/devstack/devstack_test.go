package devstack_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/devstack"
)

func start(t *testing.T, o devstack.Options) *devstack.Stack {
	t.Helper()
	s, err := devstack.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func kafka(t *testing.T, s *devstack.Stack, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func registry(t *testing.T, s *devstack.Stack, params ...sr.Param) *sr.Client {
	t.Helper()
	c, err := sr.NewClient(sr.URLs(s.RegistryURL()), sr.DefaultParams(params...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func produce(t *testing.T, c *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func consume(t *testing.T, s *devstack.Stack, topic string, n int) []string {
	t.Helper()
	c := kafka(t, s, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < n {
		f := c.PollFetches(t.Context())
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func createTopic(t *testing.T, c *kgo.Client, configs map[string]*string, name string) error {
	t.Helper()
	_, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, configs, name)
	return err
}

const placed = `{"type":"record","name":"Placed","namespace":"t","fields":[{"name":"id","type":"string"}]}`

func TestRestartKeepsRecordsOffsetsAndIDs(t *testing.T) {
	t.Parallel()
	o := devstack.Options{Dir: filepath.Join(t.TempDir(), "data")}
	first, err := devstack.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := kafka(t, first)
	if err := createTopic(t, c, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "kept", "a", "b")
	want, err := registry(t, first).CreateSchema(t.Context(), "t.Placed", sr.Schema{Schema: placed})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := start(t, o)
	produce(t, kafka(t, second), "kept", "c")
	if diff := cmp.Diff([]string{"a", "b", "c"}, consume(t, second, "kept", 3)); diff != "" {
		t.Errorf("records after the restart (-want +got):\n%s", diff)
	}
	got, err := registry(t, second).SchemaByVersion(t.Context(), "t.Placed", 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema after the restart (-want +got):\n%s", diff)
	}
	other, err := registry(t, second).CreateSchema(t.Context(), "t.Other", sr.Schema{Schema: strings.ReplaceAll(placed, "Placed", "Other")})
	if err != nil || other.ID == got.ID {
		t.Errorf("new schema after the restart: id %d, error %v; want an id of its own", other.ID, err)
	}
}

func TestFolderHasOneHolder(t *testing.T) {
	t.Parallel()
	o := devstack.Options{Dir: t.TempDir()}
	first := start(t, o)
	_, err := devstack.Start(t.Context(), o)
	var held *devstack.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("second start: %v; want a HeldError", err)
	}
	if held.PID != os.Getpid() || held.Dir != o.Dir || time.Since(held.Since) > time.Minute {
		t.Errorf("holder = %+v; want this process, just now", held)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, o) // free again
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	running := start(t, devstack.Options{})
	for name, c := range map[string]struct {
		o    devstack.Options
		want string
	}{
		"port in use":           {devstack.Options{KafkaAddr: running.Brokers()[0]}, "port 0 picks a free one"},
		"registry port in use":  {devstack.Options{RegistryAddr: running.Brokers()[0]}, "schema registry"},
		"reachable from others": {devstack.Options{KafkaAddr: "0.0.0.0:0"}, "not a loopback address"},
		"no port":               {devstack.Options{RegistryAddr: "127.0.0.1"}, "missing port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := devstack.Start(t.Context(), c.o)
			if err == nil {
				_ = s.Close()
				t.Fatal("started; want an error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if inUse := strings.Contains(name, "in use"); inUse != errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("errors.Is(EADDRINUSE) = %v for %v", !inUse, err)
			}
		})
	}
}

func TestBrokerRefusesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	s := start(t, devstack.Options{})
	c := kafka(t, s)
	admin := kadm.NewClient(c)
	if err := createTopic(t, c, map[string]*string{"retention.ms": kadm.StringPtr("-1")}, "fine"); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "fine", "x")
	refused := map[string]error{
		"expiry":     createTopic(t, c, map[string]*string{"retention.ms": kadm.StringPtr("1000")}, "short"),
		"compaction": createTopic(t, c, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, "compacted"),
	}
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1000")}}
	altered, err := admin.AlterTopicConfigs(t.Context(), set, "fine")
	if err != nil {
		t.Fatal(err)
	}
	refused["alter"] = altered[0].Err
	state, err := admin.AlterTopicConfigsState(t.Context(), set, "fine")
	if err != nil {
		t.Fatal(err)
	}
	refused["alter state"] = state[0].Err
	deleted, err := admin.DeleteRecords(t.Context(), kadm.Offsets{"fine": {0: {Topic: "fine", Partition: 0, At: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	refused["deleting records"] = deleted["fine"][0].Err
	for what, err := range refused {
		if !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("%s: %v; want POLICY_VIOLATION", what, err)
		}
	}
	tx := kafka(t, s, kgo.TransactionalID("t"))
	err = tx.BeginTransaction()
	if err == nil {
		err = tx.ProduceSync(t.Context(), &kgo.Record{Topic: "fine"}).FirstErr()
	}
	if !errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		t.Errorf("transaction: %v; want TRANSACTIONAL_ID_AUTHORIZATION_FAILED", err)
	}
	back, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "retention.ms"}}, "fine")
	if err != nil || back[0].Err != nil {
		t.Errorf("going back to the default: %v, %v", err, back)
	}
}

func TestNoTopicAppearsByItself(t *testing.T) {
	t.Parallel()
	s := start(t, devstack.Options{})
	c := kafka(t, s, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(0))
	err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "typo"}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("producing to an unknown topic: %v; want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
}

func TestNothingExpires(t *testing.T) {
	t.Parallel()
	s := start(t, devstack.Options{})
	c := kafka(t, s)
	for topic, configs := range map[string]map[string]*string{
		"by-default": nil,
		"explicitly": {"retention.ms": kadm.StringPtr("-1")},
	} {
		if err := createTopic(t, c, configs, topic); err != nil {
			t.Fatal(err)
		}
		old := &kgo.Record{Topic: topic, Value: []byte("old"), Timestamp: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)}
		if err := c.ProduceSync(t.Context(), old).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	s.Cluster().ApplyRetention()
	starts, err := kadm.NewClient(c).ListStartOffsets(t.Context(), "by-default", "explicitly")
	if err != nil {
		t.Fatal(err)
	}
	starts.Each(func(o kadm.ListedOffset) {
		if o.Err != nil || o.Offset != 0 {
			t.Errorf("%s starts at offset %d, %v; want 0", o.Topic, o.Offset, o.Err)
		}
	})
}
