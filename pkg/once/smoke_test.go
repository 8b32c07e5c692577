package once

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	urls := []string{"sqlite:" + filepath.Join(t.TempDir(), "a b#?%.db")}
	if u := os.Getenv("SPINE_TEST_POSTGRES"); u != "" {
		d, err := sql.Open("pgx", u)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Exec(`DROP SCHEMA IF EXISTS t_once_smoke CASCADE; CREATE SCHEMA t_once_smoke`); err != nil {
			t.Fatal(err)
		}
		d.Close()
		urls = append(urls, u+"&search_path=t_once_smoke")
	}
	for _, u := range urls {
		ctx := t.Context()
		db, err := Open(ctx, Options{URL: u})
		if err != nil {
			t.Fatal(err)
		}
		o, err := db.Store("g").Own(ctx, "t", 0, 5)
		if err != nil {
			t.Fatal(err)
		}
		rec := Record{Topic: "t", Offset: 7, Key: []byte{}, Value: nil, Timestamp: time.UnixMilli(1).UTC(), Headers: []Header{{"a", nil}, {"b", []byte{}}, {"c", []byte("x")}}}
		res, err := o.Do(ctx, Item{EventID: "e1", Record: rec}, func(ctx context.Context, tx Tx) error {
			_ = tx.Effect(ctx, Effect{Name: "mail", Key: "k"})
			return tx.Send(ctx, Outgoing{Kind: OutFact, Record: rec})
		})
		t.Log(res, err)
		out, err := o.Outgoing(ctx, 10)
		t.Logf("%#v %v", out, err)
		ef, err := o.Effects(ctx, time.Now(), 10)
		t.Logf("%#v %v", ef, err)
		rec.Offset = 8
		t.Log(o.Spill(ctx, Row{State: Dead, Holds: true, EventID: "e2", Record: rec, FirstFailed: time.Now()}, []Row{{EventID: "e3", Record: Record{Topic: "t", Offset: 9, Key: []byte{}}}}, out))
		rows, err := db.Store("g").Rows(ctx, RowFilter{})
		t.Logf("%#v %v", rows, err)
		t.Log(o.Heads(ctx, time.Now(), 10))
		t.Log(o.Redrive(ctx, []int64{rows[0].ID}))
		t.Log(o.Heads(ctx, time.Now(), 10))
		t.Log(db.Store("g").Counts(ctx))
		t.Log(db.Store("g").Ownerships(ctx))
		for _, v := range strings.Fields("ownership inbox waiting outgoing effects") {
			r, err := db.SQL().QueryContext(ctx, "SELECT * FROM spine_"+v+"_v")
			if err != nil {
				t.Fatal(err)
			}
			c, _ := r.Columns()
			for r.Next() {
				d := make([]any, len(c))
				p := make([]any, len(c))
				for i := range d {
					p[i] = &d[i]
				}
				if err := r.Scan(p...); err != nil {
					t.Fatal(err)
				}
				t.Log(v, c, d)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
