package bus

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Batch sizes. A topic's max.message.bytes must be at least as large: raw.* and
// dlq.* topics carry bodies of up to 2 MiB.
const (
	MaxBatchBytes    = 1_000_012                 // Kafka's own default
	MaxRawBatchBytes = 3 << 20                   // raw.*
	MaxDLQBatchBytes = MaxRawBatchBytes + 64<<10 // dlq.*: the same record with the dead-letter headers
	bufferedBytes    = 128 << 20                 // of records that wait for a broker
	bufferedRecords  = 100_000                   //
	rawPrefix        = "raw."                    //
	deadPrefix       = "dlq."                    //
)

// BatchBytes is the largest batch that is produced to a topic.
func BatchBytes(topic string) int32 {
	switch {
	case strings.HasPrefix(topic, rawPrefix):
		return MaxRawBatchBytes
	case strings.HasPrefix(topic, deadPrefix):
		return MaxDLQBatchBytes
	}
	return MaxBatchBytes
}

// Producer writes records: idempotent, acknowledged by all in-sync replicas, and
// partitioned by key with murmur2, as the Java client does.
type Producer struct{ cl *kgo.Client }

// NewProducer makes a producer. It connects when it is first used.
func NewProducer(c Config) (*Producer, error) {
	opts, err := c.Options()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()), // promise: accepted
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytesFn(BatchBytes),
		kgo.MaxBufferedBytes(bufferedBytes),
		kgo.MaxBufferedRecords(bufferedRecords),
	)...)
	if err != nil {
		return nil, fmt.Errorf("kafka producer: %w", err)
	}
	return &Producer{cl: cl}, nil
}

// Close fails what is still buffered and closes the connections.
func (p *Producer) Close() { p.cl.Close() }

// Ping asks any broker for a sign of life.
func (p *Producer) Ping(ctx context.Context) error { return p.cl.Ping(ctx) }

// Publish writes records in order and returns when all are acknowledged. An error
// says that at least one is not, or that ctx ended first: then what became of the
// records is unknown, and a later copy of them is to be expected.
func (p *Producer) Publish(ctx context.Context, records ...*kgo.Record) error {
	for i, err := range p.Send(ctx, records) {
		if err != nil {
			return fmt.Errorf("publishing to %s: %w", records[i].Topic, err)
		}
	}
	return nil
}

// Send is Publish with an answer for each record: nil is acknowledged.
//
// The client itself does not obey ctx once a batch is on the wire, so the wait is
// Send's own: it returns when ctx ends, whatever the client does meanwhile.
func (p *Producer) Send(ctx context.Context, records []*kgo.Record) []error {
	type answer struct {
		index int
		err   error
	}
	answers := make(chan answer, len(records)) // room for all: no promise ever blocks, though nobody may listen any more
	for i, r := range records {
		p.cl.Produce(ctx, r, func(_ *kgo.Record, err error) { answers <- answer{i, err} })
	}
	errs, open := make([]error, len(records)), make([]bool, len(records))
	for i := range open {
		open[i] = true
	}
	for range records {
		select {
		case a := <-answers:
			errs[a.index], open[a.index] = a.err, false
		case <-ctx.Done():
			for i := range open {
				if open[i] {
					errs[i] = fmt.Errorf("outcome unknown: %w", context.Cause(ctx))
				}
			}
			return errs
		}
	}
	return errs
}
