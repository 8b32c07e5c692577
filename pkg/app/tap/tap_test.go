package tap_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/tap"
)

// setup makes a topic of two partitions with the values 0 to 19, a minute apart.
func setup(t *testing.T) ([]kgo.Opt, time.Time) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	opts := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	cl, err := kgo.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	begin := time.Date(2026, 3, 14, 11, 0, 0, 0, time.UTC)
	for i := range 20 {
		r := &kgo.Record{Topic: "t", Partition: int32(i % 2), Value: []byte(strconv.Itoa(i)), Timestamp: begin.Add(time.Duration(i) * time.Minute)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return opts, begin
}

func TestRead_windows(t *testing.T) {
	t.Parallel()
	opts, begin := setup(t)
	for window, want := range map[string]map[int32][]string{
		":end":                        {0: {"0", "2", "4", "6", "8", "10", "12", "14", "16", "18"}, 1: {"1", "3", "5", "7", "9", "11", "13", "15", "17", "19"}},
		"-2":                          {0: {"16", "18"}, 1: {"17", "19"}},
		"+8":                          {0: {"16", "18"}, 1: {"17", "19"}},
		"3:5":                         {0: {"6", "8"}, 1: {"7", "9"}},
		"end":                         {},
		"@2026-03-14T11:17:00Z":       {0: {"18"}, 1: {"17", "19"}},
		"@-18m:@-15m":                 {0: {"2", "4"}, 1: {"3"}},
		"@2026-03-14T11:02:00Z:11:09": nil,
	} {
		t.Run(window, func(t *testing.T) {
			t.Parallel()
			w, err := tap.ParseWindow(window, begin.Add(20*time.Minute))
			if want == nil {
				if err == nil {
					t.Error("is accepted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[int32][]string{}
			err = tap.Read(t.Context(), tap.Options{Client: opts, Topics: []string{"t"}, Window: w}, func(r *kgo.Record) error {
				got[r.Partition] = append(got[r.Partition], string(r.Value))
				return nil
			})
			if d := cmp.Diff(want, got); err != nil || d != "" {
				t.Errorf("%v %s", err, d)
			}
		})
	}
}

func TestTail_looksBackAsFarAsNeeded(t *testing.T) {
	t.Parallel()
	opts, _ := setup(t)
	var got []string
	collect := func(r *kgo.Record) error { got = append(got, string(r.Value)); return nil }
	o := tap.Options{Client: opts, Topics: []string{"t"}, Match: func(r *kgo.Record) bool { return len(r.Value) == 1 }}
	if err := tap.Tail(t.Context(), o, 3, collect); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"7", "8", "9"}, got); d != "" {
		t.Error(d)
	}
}

func TestRead_followEndsWithTheContext(t *testing.T) {
	t.Parallel()
	opts, _ := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := tap.Read(ctx, tap.Options{Client: opts, Topics: []string{"t"}, Window: tap.Last(1), Follow: true}, func(*kgo.Record) error {
		if seen++; seen == 2 {
			cancel()
		}
		return nil
	})
	if err != nil || seen != 2 {
		t.Errorf("saw %d, %v", seen, err)
	}
}

// Follow shows the last records of all partitions, then each that comes, once.
func TestFollow(t *testing.T) {
	t.Parallel()
	opts, begin := setup(t)
	cl, err := kgo.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err = tap.Follow(ctx, tap.Options{Client: opts, Topics: []string{"t"}}, 3, func(r *kgo.Record) error {
		got = append(got, string(r.Value))
		switch len(got) {
		case 3, 4: // the next one comes while it is followed
			next := &kgo.Record{Topic: "t", Partition: int32(len(got) % 2), Value: []byte("new"), Timestamp: begin.Add(time.Hour)}
			return cl.ProduceSync(ctx, next).FirstErr()
		case 5:
			cancel()
		}
		return nil
	})
	if d := cmp.Diff([]string{"17", "18", "19", "new", "new"}, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

func TestParseWindow_refused(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "x", "1:2:3", "@", "@2h", "-", "1.5", "@-2h:yesterday"} {
		if w, err := tap.ParseWindow(bad, time.Now()); err == nil {
			t.Errorf("%q is accepted as %s", bad, fmt.Sprint(w))
		}
	}
}
