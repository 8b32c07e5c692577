package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// edit changes one place of a source file.
type edit struct{ file, old, new string }

// planted is a bug, and what the program has to say about it.
type planted struct {
	name   string
	edits  []edit
	faults func() []fault
	finds  string // one of the findings matches
}

// often lets handlers want to wait more often.
func often() edit {
	return edit{"cmd/spine/testdata/flaky/main.go", "h.Sum32() % 600", "h.Sum32() % 90"}
}

// blows are faults of one kind, one after the other on each of these.
func blows(kind string, every, long time.Duration, rounds int, on ...string) (all []fault) {
	at := 3 * time.Second
	for range rounds {
		for _, name := range on {
			all = append(all, fault{At: at, Kind: kind, On: name, For: long})
			at += every
		}
	}
	return all
}

func kills() []fault {
	return blows("kill", 800*time.Millisecond, 200*time.Millisecond, 2,
		"translate-1", "inventory-1", "invoicing-1", "analytics-1", "translate-2", "inventory-2", "notifications-1", "analytics-2")
}

// deafIntakes cannot reach any broker for a while.
func deafIntakes() (all []fault) {
	for _, m := range []string{"intake-1", "intake-2"} {
		for _, part := range []string{"kafka1", "kafka2", "kafka3"} {
			all = append(all, fault{At: 3 * time.Second, Kind: "cut", On: m + "/" + part, For: 9 * time.Second})
		}
	}
	return append(all, blows("kill", 700*time.Millisecond, 100*time.Millisecond, 4, "intake-1", "intake-2")...)
}

// hangingRelays wait for a broker, and die of it.
func hangingRelays() (all []fault) {
	for i, broker := range []string{"kafka1", "kafka2", "kafka3"} {
		at := time.Duration(3+8*i) * time.Second
		all = append(all, fault{At: at, Kind: "pause", On: broker, For: 5 * time.Second})
		for _, m := range []string{"translate-1", "translate-2", "inventory-1", "invoicing-1"} {
			all = append(all, fault{At: at + 3*time.Second, Kind: "kill", On: m, For: 200 * time.Millisecond})
		}
	}
	return all
}

// comas take partitions from processes that do not know it.
func comas() (all []fault) {
	for i, m := range []string{"analytics-1", "inventory-1", "analytics-2", "invoicing-1"} {
		all = append(all, fault{At: time.Duration(6+12*(i/2)) * time.Second, Kind: "coma", On: m, For: time.Duration(11+i/2) * time.Second})
	}
	return all
}

func plantedBugs() []planted {
	const partition, leaving, once, intake = "pkg/dispatch/partition/", "pkg/dispatch/leaving/", "pkg/once/", "pkg/intake/"
	return []planted{
		{"an answer before it is durable", []edit{{
			intake + "deliver.go", "		err := i.publish(ctx, record)\n		if err == nil {",
			"		go func() { _ = i.publish(ctx, record) }()\n		var err error\n		if err == nil {",
		}}, deafIntakes, `answered 2xx and is neither`},
		{"a full spool drops", []edit{
			{intake + "spool.go", "s.bytes+size > s.limit", "s.bytes+size > 100_000"},
			{intake + "spool.go", "a.done <- errFull", "a.done <- nil"},
		}, deafIntakes, `answered 2xx and is neither`},
		{"no inbox", []edit{
			{once + "inbox/inbox.go", "	return fresh, database.Each(", "	for _, e := range entries {\n		fresh[e.EventID] = struct{}{}\n	}\n	return fresh, database.Each("},
			{once + "owner.go", "return off < t.next || t.row != \"\", nil", "return t.row != \"\", nil"},
		}, kills, `stands more than once`},
		// Marks in the inbox would hide most of it, and a zombie has to have something left to do.
		{"no fence", []edit{
			{once + "owner.go", "err == nil && epoch != t.o.epoch {", "err == nil && epoch == 0 {"},
			{once + "owner.go", "err == nil && epoch != o.epoch {", "err == nil && epoch == 0 {"},
			{once + "inbox/inbox.go", "	return fresh, database.Each(", "	for _, e := range entries {\n		fresh[e.EventID] = struct{}{}\n	}\n	return fresh, database.Each("},
			{partition + "session.go", "func (s *Session) Lose() { s.End(errLost) }", "func (s *Session) Lose() {}"},
			{"cmd/spine/testdata/flaky/main.go", "err := call(ctx, tx, e, fact)", "time.Sleep(700 * time.Millisecond)\n			err := call(ctx, tx, e, fact)"},
		}, comas, `stands more than once|the probe has handled`},
		{"the offset goes before the effect", []edit{{
			partition + "session.go", "		s.track.Deliver(rec.Offset, rec.Timestamp)\n",
			"		s.track.Deliver(rec.Offset, rec.Timestamp)\n		s.track.Ack(rec.Offset)\n",
		}}, kills, `neither handled nor kept|is not translated|lost`},
		{"Kafka is told more than is done", []edit{{
			partition + "session.go", "Offset: s.stored, Time", "Offset: s.track.Next, Time",
		}}, kills, `Kafka has more committed`},
		{"published facts are removed before they are acknowledged", []edit{{
			leaving + "relay.go", "	acked, failed := r.send(ctx, rows)",
			`	early := make([]int64, len(rows))
	for i, row := range rows {
		early[i] = row.ID
	}
	if err := r.s.Owner.Remove(ctx, early); err != nil {
		return 0, err
	}
	acked, failed := r.send(ctx, rows)`,
		}}, hangingRelays, `which is not in Kafka|lost|-tables`},
		{"waiting rows come back in the wrong order", []edit{
			{once + "waiting.go", "ORDER BY w.id LIMIT 1)`, behind", "ORDER BY w.id DESC LIMIT 1)`, behind"},
			often(),
		}, kills, `before .* of the same key|the probe has handled .* after`},
		{"what waits is not kept", []edit{
			{partition + "work.go", "	t.decided = true\n	return s.move(ctx, l, t)", "	if t.row.State == once.Wait {\n		return outcome{done: 1}\n	}\n	t.decided = true\n	return s.move(ctx, l, t)"},
			often(),
		}, kills, `neither handled nor kept`},
		{"a dead letter leaves no copy", []edit{{
			once + "waiting.go", "		return outgoing.Add(ctx, t.Tx, o.id, copies)", "		return outgoing.Add(ctx, t.Tx, o.id, nil)",
		}}, kills, `has no copy`},
		{"an effect is marked, and not made", []edit{{
			leaving + "effects.go", "return timed(ctx, func(ctx context.Context) error { return def.Do(ctx, e.Key, e.Args) })", "return ctx.Err()",
		}}, kills, `mails in the folder`},
		{"an effect is repeated with another key", []edit{
			{leaving + "effects.go", "return def.Do(ctx, e.Key, e.Args)", "return def.Do(ctx, e.Key+\"x\"[:min(e.Attempts, 1)], e.Args)"},
			often(),
		}, kills, `mails in the folder|foreign`},
		{"money is off by a unit", []edit{{
			"producers/shopify/payment.go", "Amount: t.Amount, Currency", "Amount: t.Amount.Add(money.FromUnits(1, 4)), Currency",
		}}, kills, `paid`},
		{"an invoice is off by a unit", []edit{
			{"consumers/invoicing/store.go", "c.decimal(\"gross\", d.Gross, scale)", "c.decimal(\"gross\", d.Gross.Add(money.FromUnits(1, 4)), scale)"},
			{"consumers/invoicing/store.go", "c.decimal(\"rounding\", d.Rounding, scale)", "c.decimal(\"rounding\", d.Rounding.Add(money.FromUnits(1, 4)), scale)"},
		}, kills, `orders and invoices`},
		{"keys have no lanes", []edit{{
			partition + "session.go", "s.enqueue(s.lane(rec.Key), t)", "s.enqueue(s.lane(nil), t)",
		}}, kills, `before .* of the same key|the probe has handled .* after`},
	}
}

// root is the folder of the module.
const root = "../.."

// overlay writes the edited files, and the list that go build takes.
func (b planted) overlay(dir string) (string, error) {
	texts := map[string]string{}
	for _, e := range b.edits {
		if texts[e.file] == "" {
			text, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return "", err
			}
			texts[e.file] = string(text)
		}
		if n := strings.Count(texts[e.file], e.old); n != 1 {
			return "", fmt.Errorf("%s: %q stands there %d times, want once: the bug has to be planted elsewhere now", e.file, e.old, n)
		}
		texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		original, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			return "", err
		}
		replace[original] = filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(replace[original], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, list, 0o600)
}

// Every bug still has its place in the source.
func TestPlanted_haveTheirPlace(t *testing.T) {
	t.Parallel()
	for _, b := range plantedBugs() {
		if _, err := b.overlay(t.TempDir()); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
	}
}

// The program is tested with bugs: each is found, and without one there is nothing to
// find. SPINE_TEST_FAULTS=planted plants all of them, SPINE_TEST_PLANTED those whose
// name matches.
func TestFaults_planted(t *testing.T) {
	if os.Getenv("SPINE_TEST_FAULTS") != "planted" || !realParts() {
		t.Skip("kills real parts: SPINE_TEST_FAULTS=planted runs it, SPINE_PARTS_SCRIPT names the script of the parts")
	}
	which := regexp.MustCompile(os.Getenv("SPINE_TEST_PLANTED"))
	bugs := append(plantedBugs(), planted{name: "none", edits: []edit{often()}, faults: func() []fault {
		return append(append(append(kills(), comas()...), deafIntakes()...), hangingRelays()...)
	}})
	for _, b := range bugs {
		if !which.MatchString(b.name) {
			continue
		}
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			list, err := b.overlay(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			p := newProgram(t, "planted")
			p.given = b.faults()
			p.faults = len(p.given)
			p.build("-overlay", list)
			p.prepare()
			p.play()
			p.judge()
			p.stop()
			found := p.found
			if b.finds == "" {
				for _, f := range found {
					t.Error(f)
				}
				return
			}
			all := strings.Join(found, "\n")
			if !regexp.MustCompile(b.finds).MatchString(all) {
				t.Errorf("the bug is not found: no finding matches %q; findings:\n%s", b.finds, all)
			}
			hit := ""
			for _, f := range found {
				if regexp.MustCompile(b.finds).MatchString(f) {
					hit = f
					break
				}
			}
			t.Logf("%d findings, such as: %.600s", len(found), hit)
		})
	}
}
