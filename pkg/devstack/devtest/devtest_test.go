package devtest_test

import (
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/devstack/devtest"
)

func TestPartsWork(t *testing.T) {
	t.Parallel()
	p := devtest.Parts(t)
	topic := devtest.Unique(t, "devtest")
	p.CreateTopics(t, 3, topic)
	c, err := kgo.NewClient(kgo.SeedBrokers(p.Brokers...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
		t.Error(err)
	}
	r, err := sr.NewClient(sr.URLs(p.RegistryURL))
	if err != nil {
		t.Fatal(err)
	}
	name := "D" + devtest.Unique(t, "")[1:]
	if _, err := r.CreateSchema(t.Context(), "devtest."+name, sr.Schema{Schema: `{"type":"record","name":"` + name + `","fields":[]}`}); err != nil {
		t.Error(err)
	}
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	if os.Getenv("SPINE_TEST_POSTGRES") == "" {
		if u := devtest.Database(t); !strings.HasPrefix(u, "sqlite:") {
			t.Errorf("database = %s; want SQLite", u)
		}
		return
	}
	for range 2 { // the same table twice: each in a schema of its own
		db, err := sql.Open("pgx", devtest.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE apart (id BIGINT)"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
