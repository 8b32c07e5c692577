package main_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/books"
	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/topic"
	"github.com/eventspine/spine/pkg/wire"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/invoice"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
	"github.com/eventspine/spine/schemas/stock"
	"github.com/eventspine/spine/topics"
)

// known are the fact types of this repository that are published.
func known() map[string]func() any {
	return map[string]func() any{
		order.PlacedV2{}.EventType():              func() any { return &order.PlacedV2{} },
		order.EditedV1{}.EventType():              func() any { return &order.EditedV1{} },
		order.CancelledV1{}.EventType():           func() any { return &order.CancelledV1{} },
		payment.ReceivedV1{}.EventType():          func() any { return &payment.ReceivedV1{} },
		refund.IssuedV1{}.EventType():             func() any { return &refund.IssuedV1{} },
		stock.ReservedV1{}.EventType():            func() any { return &stock.ReservedV1{} },
		stock.ReservationReleasedV1{}.EventType(): func() any { return &stock.ReservationReleasedV1{} },
		stock.ShortageDetectedV1{}.EventType():    func() any { return &stock.ShortageDetectedV1{} },
		invoice.CreatedV1{}.EventType():           func() any { return &invoice.CreatedV1{} },
		creditnote.IssuedV1{}.EventType():         func() any { return &creditnote.IssuedV1{} },
		notification.SentV1{}.EventType():         func() any { return &notification.SentV1{} },
	}
}

// happened is one fact as it stands in the stream, by its first record.
type happened struct {
	event.Event
	Offset int64
	Data   any // pointer to the fact
}

// ledger is what the test knows, what stands in Kafka and what stands in the database.
type ledger struct {
	t         *testing.T
	place     *place
	db        *once.DB
	stock     books.Stock
	facts     []happened // of our instances, in order per partition, once per id
	delivered [][sha256.Size]byte
	findings  []string // what is wrong
}

// findf notes something that is wrong.
func (l *ledger) findf(format string, args ...any) {
	l.findings = append(l.findings, fmt.Sprintf(format, args...))
}

// verdict fails the test where something is wrong.
func (l *ledger) verdict() {
	l.t.Helper()
	for _, f := range l.findings {
		l.t.Error(f)
	}
}

// openLedger collects it all. accepted are the deliveries that were answered 2xx.
func openLedger(t *testing.T, p *place, accepted map[string]string) *ledger {
	t.Helper()
	l := &ledger{t: t, place: p, db: p.store(t)}
	set, err := topic.Load(topics.Files)
	if err != nil {
		t.Fatal(err)
	}
	codec := wire.NewCodec(wire.NewRegistry(p.registryClient(t)))
	o := books.Options{Client: p.client(), Codec: codec, Raw: []string{topic.RawName("shopify")}}
	for _, s := range set.Specs() {
		o.Topics = append(o.Topics, s.Name)
	}
	o.Translate = books.Source{Group: consumer.Group{Name: "translate"}, DB: l.db}
	for _, g := range p.fleet().Groups {
		o.Groups = append(o.Groups, books.Source{Group: g, DB: l.db})
	}
	if l.stock, err = books.Collect(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	l.stock.Accepted, l.stock.Spooled = accepted, map[string]bool{}
	spooled, err := p.spooled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range spooled {
		l.stock.Spooled[id] = true
	}
	l.keepOurs()
	l.read(o.Client, append(o.Raw, o.Topics...), codec)
	return l
}

// keepOurs leaves out what other instances did in topics that are shared.
func (l *ledger) keepOurs() {
	ours, all := l.place.instances(), l.stock.Events
	maps.DeleteFunc(l.stock.Deliveries, func(_ string, d *books.Delivery) bool {
		_, known := ours[d.System+"/"+d.Instance]
		return !known
	})
	mine := map[string]*books.Event{}
	for grown := true; grown; { // what follows from ours is ours
		grown = false
		for id, e := range all {
			_, known := ours[e.Source]
			if mine[id] == nil && (known || mine[e.Cause] != nil) {
				mine[id], grown = e, true
			}
		}
	}
	foreign := func(id string) bool { return all[id] != nil && mine[id] == nil }
	for _, g := range l.stock.Groups {
		maps.DeleteFunc(g.Handled, func(id string, _ books.Handled) bool { return foreign(id) })
		maps.DeleteFunc(g.Dead, func(id string, _ bool) bool { return mine[id] == nil })
		for _, ids := range g.Ledger {
			maps.DeleteFunc(ids, func(id string, _ int) bool { return foreign(id) })
		}
	}
	if realParts() { // deliveries of others that translate has seen, too
		maps.DeleteFunc(l.stock.Translate.Handled, func(id string, _ books.Handled) bool { return l.stock.Deliveries[id] == nil })
	}
	l.stock.Events = mine
}

// read decodes the facts, and remembers the bodies of the deliveries.
func (l *ledger) read(client []kgo.Opt, topics []string, codec *wire.Codec) {
	l.t.Helper()
	types, seen := known(), map[string]bool{}
	err := tap.Read(l.t.Context(), tap.Options{Client: client, Topics: topics, Window: tap.All()}, func(r *kgo.Record) error {
		e, err := wire.Head(r)
		if e.Type == wire.DeliveryType {
			d, err := wire.DecodeDelivery(r)
			if _, ours := l.place.instances()[d.Source]; ours {
				l.delivered = append(l.delivered, sha256.Sum256(d.Body))
			}
			return err
		}
		if err != nil || l.stock.Events[e.ID] == nil || seen[e.ID] {
			return nil //nolint:nilerr // not ours
		}
		seen[e.ID] = true
		newFact := types[e.Type]
		if newFact == nil {
			return fmt.Errorf("a fact of type %s is in the stream: nobody publishes it", e.Type)
		}
		fact := newFact()
		if err := codec.Decode(l.t.Context(), r, fact); err != nil {
			return err
		}
		if m, ok := fact.(interface{ GetMeta() event.Meta }); ok {
			wire.Complete(&e, m.GetMeta())
		}
		l.facts = append(l.facts, happened{e, r.Offset, fact})
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	slices.SortStableFunc(l.facts, func(a, b happened) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Offset, b.Offset))
	})
}

// of are the facts of one type.
func of[T any](l *ledger) (all []happened) {
	for _, f := range l.facts {
		if _, is := f.Data.(*T); is {
			all = append(all, f)
		}
	}
	return all
}

// word is what the calls of a day say happened: the oracle, which knows nothing of Spine.
type word struct {
	facts   map[string][]string        // fact type → "<instance>/<entity>", sorted, each once
	amounts map[string]map[string]bool // of an order or a payment, "<instance>/<entity>": what it may say
	broken  int                        // accepted, but not to be translated
	bodies  map[[sha256.Size]byte]bool
}

// theWord reads the calls that a correct intake accepts.
func theWord(t *testing.T, calls iter.Seq[producer.Call]) word {
	t.Helper()
	w := word{facts: map[string][]string{}, amounts: map[string]map[string]bool{}, bodies: map[[sha256.Size]byte]bool{}}
	for c := range calls {
		if c.Expect != 200 {
			continue
		}
		w.bodies[sha256.Sum256(c.Body)] = true
		if slices.Contains([]string{"malformed body", "wrong types", "totals do not add up"}, c.Note) {
			w.broken++
			continue
		}
		w.add(t, c)
	}
	for fact, list := range w.facts {
		slices.Sort(list)
		w.facts[fact] = slices.Compact(list)
	}
	return w
}

// amount is money as Shopify writes it.
type amount struct {
	Amount string `json:"amount"`
}

func (w word) add(t *testing.T, c producer.Call) {
	t.Helper()
	var body struct {
		ID          json.Number `json:"id"`
		Kind        string      `json:"kind"`
		Status      string      `json:"status"`
		CancelledAt *string     `json:"cancelled_at"`
		Amount      string      `json:"amount"`
		Total       struct {
			Shop      amount `json:"shop_money"`
			Presented amount `json:"presentment_money"`
		} `json:"total_price_set"`
		Edit struct {
			ID json.Number `json:"id"`
		} `json:"order_edit"`
	}
	d := json.NewDecoder(bytes.NewReader(c.Body))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		t.Fatalf("a call that is not marked as broken: %v", err)
	}
	say := func(fact, entity string) { w.facts[fact] = append(w.facts[fact], c.Instance+"/"+entity) }
	costs := func(text string) {
		key := c.Instance + "/" + body.ID.String()
		if w.amounts[key] == nil {
			w.amounts[key] = map[string]bool{}
		}
		d, err := money.Parse(text)
		if err != nil {
			t.Fatalf("a call that is not marked as broken: %v", err)
		}
		w.amounts[key][d.Text(4)] = true
	}
	switch topic := c.Header.Get("X-Shopify-Topic"); topic {
	case "orders/create", "orders/updated", "orders/paid", "orders/cancelled":
		costs(body.Total.Shop.Amount)
		costs(body.Total.Presented.Amount)
		say("order.placed.v2", body.ID.String())
		if body.CancelledAt != nil {
			say("order.cancelled.v1", body.ID.String())
		}
	case "orders/edited":
		say("order.edited.v1", body.Edit.ID.String())
	case "order_transactions/create":
		if (body.Kind == "sale" || body.Kind == "capture") && body.Status == "success" {
			say("payment.received.v1", body.ID.String())
			costs(body.Amount)
		}
	case "refunds/create":
		say("refund.issued.v1", body.ID.String())
	}
}

// check holds the ledger against the word of the day, and lets the books balance.
func (l *ledger) check(w word) {
	l.t.Helper()
	r := books.Balance(l.stock)
	if !r.Balanced {
		l.findf("the books do not balance: %+v\n%s", r.Totals, strings.Join(r.Findings, "\n"))
	}
	dead := 0
	for _, d := range r.Deliveries {
		dead += d.Dead
		if d.Pending > 0 || d.Missing > 0 {
			l.findf("deliveries of %s/%s: %+v", d.System, d.Instance, d)
		}
	}
	if dead < w.broken {
		l.findf("%d deliveries are dead letters, want those that cannot be translated: %d or more (unanswered ones may stand twice)", dead, w.broken)
	}
	for _, row := range r.Rows {
		if row.Handled != row.InStream || row.Parked+row.Dead+row.Pending > 0 {
			l.findf("%s of %s: %+v, want all handled", row.Fact, row.Group, row)
		}
	}
	l.saidFacts(w)
	l.saidAmounts(w)
	l.copies()
	for _, body := range l.delivered {
		if !w.bodies[body] {
			l.findf("phantom: a delivery is in Kafka whose body was never sent")
		}
	}
}

// saidFacts: every acknowledged delivery has its facts, and there are no others.
func (l *ledger) saidFacts(w word) {
	l.t.Helper()
	got := map[string][]string{}
	for _, f := range l.facts {
		if strings.HasPrefix(f.Source, "spine/") {
			continue
		}
		entity := f.Entity
		if edit, ok := f.Data.(*order.EditedV1); ok {
			entity = edit.EditID
		}
		got[f.Type] = append(got[f.Type], f.Source+"/"+entity)
	}
	for fact, list := range got {
		slices.Sort(list)
		if uniq := slices.Compact(slices.Clone(list)); len(uniq) != len(list) {
			l.findf("doubled: %d facts %s about %d things", len(list), fact, len(uniq))
		}
	}
	for _, fact := range slices.Sorted(maps.Keys(w.facts)) {
		missing, phantom := differences(w.facts[fact], got[fact])
		if len(missing)+len(phantom) > 0 {
			l.findf("%s: lost %v, phantom %v", fact, missing, phantom)
		}
		delete(got, fact)
	}
	for fact, list := range got {
		l.findf("phantom: facts %s: %v", fact, list)
	}
}

// saidAmounts: an order costs, and a payment is, what one of the calls about it said.
func (l *ledger) saidAmounts(w word) {
	for _, f := range l.facts {
		var got string
		switch fact := f.Data.(type) {
		case *order.PlacedV2:
			got = fact.Totals.GrandTotal.Text(4)
		case *payment.ReceivedV1:
			got = fact.Amount.Text(4)
		default:
			continue
		}
		if said := w.amounts[f.Source+"/"+f.Entity]; !said[got] {
			l.findf("%s of %s: %s is to be paid, what was said is %v", f.Type, f.Entity, got, slices.Collect(maps.Keys(said)))
		}
	}
}

// copies: what is dead in a store has its copy in the topic of dead letters, byte for
// byte.
func (l *ledger) copies() {
	l.t.Helper()
	for _, g := range append([]books.Group{l.stock.Translate}, l.stock.Groups...) {
		rows, err := l.db.Store(g.Name).Rows(l.t.Context(), once.RowFilter{})
		if err != nil {
			l.t.Fatal(err)
		}
		letters := map[string][]byte{}
		err = tap.Read(l.t.Context(), tap.Options{Client: l.place.client(), Topics: []string{"dlq." + g.Name}, Window: tap.All()}, func(r *kgo.Record) error {
			letters[headerOf(r, "spine_dlq_topic")+"/"+headerOf(r, "spine_dlq_partition")+"/"+headerOf(r, "spine_dlq_offset")] = r.Value
			return nil
		})
		if err != nil {
			l.t.Fatal(err)
		}
		for _, row := range rows {
			if row.State != once.Dead {
				continue
			}
			at := books.Place{Topic: row.Record.Topic, Partition: row.Record.Partition, Offset: row.Record.Offset}.String()
			if letter, found := letters[at]; !found || !bytes.Equal(letter, row.Record.Value) {
				l.findf("the dead letter %s of %s has no copy in its topic", at, g.Name)
			}
		}
	}
}

// differences are what only one of two sets has, at most 20 of each.
func differences(want, got []string) (missing, more []string) {
	only := func(a, b []string) (list []string) {
		have := make(map[string]bool, len(b))
		for _, v := range b {
			have[v] = true
		}
		for _, v := range a {
			if !have[v] && len(list) < 20 {
				list = append(list, v)
			}
		}
		return list
	}
	return only(want, got), only(got, want)
}

// rows asks the database; each row is its columns, joined by "|".
func (l *ledger) rows(query string, args ...any) []string {
	l.t.Helper()
	return rowsOf(l.t, l.db.SQL(), query, args...)
}

func (l *ledger) number(query string, args ...any) int {
	l.t.Helper()
	list := l.rows(query, args...)
	if len(list) != 1 {
		l.t.Fatalf("%s: %d rows", query, len(list))
	}
	n, err := strconv.Atoi(list[0])
	if err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
	return n
}
