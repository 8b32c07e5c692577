package devstack

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerConfigs switch expiry off. An emptied partition of kfake starts again at
// offset 0 after a restart, which would break every stored offset.
func brokerConfigs() map[string]string {
	return map[string]string{
		"log.retention.ms":           "-1",
		"log.retention.bytes":        "-1",
		"offsets.retention.minutes":  "5256000", // 10 years
		"default.replication.factor": "1",
	}
}

func (s *Stack) startBroker(ctx context.Context, o Options) error {
	ln, err := listen(ctx, "the embedded broker", o.KafkaAddr)
	if err != nil {
		return err
	}
	s.brokers = []string{ln.Addr().String()}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("spine-embedded"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }),
		kfake.WithLogger(brokerLog{o.Log}),
		kfake.BrokerConfigs(brokerConfigs()),
	}
	if o.Dir != "" {
		// promise: accepted. acks=all means written and synced.
		opts = append(opts, kfake.DataDir(filepath.Join(o.Dir, "kafka")), kfake.SyncWrites())
	}
	if s.cluster, err = kfake.NewCluster(opts...); err != nil {
		_ = ln.Close() // kfake closes it on most paths; twice is harmless
		return fmt.Errorf("starting the embedded broker: %w", err)
	}
	for key, refuse := range guards() {
		s.cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			s.cluster.KeepControl()
			resp := refuse(req)
			return resp, nil, resp != nil
		})
	}
	return nil
}

// guards refuse what kfake cannot do safely, by request. Each answers nil for a
// request that is fine.
func guards() map[kmsg.Key]func(kmsg.Request) kmsg.Response {
	return map[kmsg.Key]func(kmsg.Request) kmsg.Response{
		kmsg.CreateTopics:            refuseTopics,
		kmsg.AlterConfigs:            refuseAlter,
		kmsg.IncrementalAlterConfigs: refuseIncremental,
		kmsg.InitProducerID:          refuseTransactions,
		kmsg.DeleteRecords:           refuseDeletion,
	}
}

// refusal is why a setting is not for the embedded broker, "" = it is fine.
func refusal(name string, value *string) string {
	if value == nil {
		return ""
	}
	switch name {
	case "retention.ms", "retention.bytes", "log.retention.ms", "log.retention.bytes":
		if *value != "-1" {
			return "the embedded broker keeps everything: leave " + name + " out or set it to -1"
		}
	case "cleanup.policy":
		if strings.Contains(*value, "compact") {
			return "the embedded broker does not compact: a crash would empty the partition"
		}
	}
	return ""
}

func refuseTopics(r kmsg.Request) kmsg.Response {
	req, ok := r.(*kmsg.CreateTopicsRequest)
	if !ok {
		return nil
	}
	why := ""
	for _, t := range req.Topics {
		for _, c := range t.Configs {
			if reason := refusal(c.Name, c.Value); reason != "" {
				why = t.Topic + ": " + reason
			}
		}
	}
	if why == "" {
		return nil
	}
	resp, ok := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	if !ok {
		return nil
	}
	for _, t := range req.Topics { // all or none
		st := kmsg.NewCreateTopicsResponseTopic()
		st.Topic, st.ErrorCode, st.ErrorMessage = t.Topic, kerr.PolicyViolation.Code, &why
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

func refuseAlter(r kmsg.Request) kmsg.Response {
	req, ok := r.(*kmsg.AlterConfigsRequest)
	if !ok {
		return nil
	}
	why := ""
	for _, res := range req.Resources {
		for _, c := range res.Configs {
			why += refusal(c.Name, c.Value)
		}
	}
	resp, ok := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	if why == "" || !ok {
		return nil
	}
	for _, res := range req.Resources {
		a := kmsg.NewAlterConfigsResponseResource()
		a.ResourceType, a.ResourceName = res.ResourceType, res.ResourceName
		a.ErrorCode, a.ErrorMessage = kerr.PolicyViolation.Code, &why
		resp.Resources = append(resp.Resources, a)
	}
	return resp
}

func refuseIncremental(r kmsg.Request) kmsg.Response {
	req, ok := r.(*kmsg.IncrementalAlterConfigsRequest)
	if !ok {
		return nil
	}
	why := ""
	for _, res := range req.Resources {
		for _, c := range res.Configs {
			if c.Op != kmsg.IncrementalAlterConfigOpDelete { // back to the default, which is right
				why += refusal(c.Name, c.Value)
			}
		}
	}
	resp, ok := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	if why == "" || !ok {
		return nil
	}
	for _, res := range req.Resources {
		a := kmsg.NewIncrementalAlterConfigsResponseResource()
		a.ResourceType, a.ResourceName = res.ResourceType, res.ResourceName
		a.ErrorCode, a.ErrorMessage = kerr.PolicyViolation.Code, &why
		resp.Resources = append(resp.Resources, a)
	}
	return resp
}

// refuseTransactions: a crash of kfake can tear a transaction, or commit one that
// was never committed. Idempotent producers without a transactional id are fine.
func refuseTransactions(r kmsg.Request) kmsg.Response {
	req, ok := r.(*kmsg.InitProducerIDRequest)
	if !ok || req.TransactionalID == nil {
		return nil
	}
	resp, ok := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	if !ok {
		return nil
	}
	resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	return resp
}

// refuseDeletion: a partition that is emptied starts again at offset 0.
func refuseDeletion(r kmsg.Request) kmsg.Response {
	req, ok := r.(*kmsg.DeleteRecordsRequest)
	if !ok {
		return nil
	}
	resp, ok := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	if !ok {
		return nil
	}
	for _, t := range req.Topics {
		rt := kmsg.NewDeleteRecordsResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewDeleteRecordsResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, kerr.PolicyViolation.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// brokerLog passes what kfake says on: its requests are debug, its trouble is not.
type brokerLog struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l brokerLog) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	}
	ctx := context.Background() //nolint:forbidigo // kfake hands none
	if l.log.Enabled(ctx, to) {
		l.log.Log(ctx, to, "embedded broker", "detail", fmt.Sprintf(format, args...))
	}
}
