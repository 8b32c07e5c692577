package producers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/producer/producertest"
	"github.com/eventspine/spine/producers"
)

// Every adapter keeps the laws of its kit, on its Day and on the payloads in its
// testdata that are named after their kind: orders-create.discounts.json.
func TestFleet_conformance(t *testing.T) {
	t.Parallel()
	for _, a := range producers.All() {
		t.Run(a.System, func(t *testing.T) {
			t.Parallel()
			producertest.Run(t, a, producertest.Options{Seed: 11, Orders: 80, Samples: payloads(t, a)})
		})
	}
}

func payloads(t *testing.T, a producer.Adapter) (list []producertest.Sample) {
	t.Helper()
	if len(a.Day.Instances) == 0 {
		return nil
	}
	for _, o := range a.Objects {
		for _, kind := range o.Kinds {
			files, err := filepath.Glob(filepath.Join(a.System, "testdata", strings.ReplaceAll(kind, "/", "-")+".*.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				if strings.HasSuffix(name, ".golden.json") {
					continue
				}
				body, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, producertest.Sample{Name: name, Kind: kind, Instance: a.Day.Instances[0], Body: body})
			}
		}
	}
	return list
}
