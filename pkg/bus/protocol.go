package bus

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Protocols of group membership.
const (
	Classic  = "classic"  // the members share the partitions out among themselves, cooperative-sticky
	Consumer = "consumer" // the broker shares them out (KIP-848), and decides when a member is silent
)

// Of a broker that serves Consumer as it has to be. Before Kafka 4.3 a commit that
// crosses a heartbeat fails with STALE_MEMBER_EPOCH, which the client can't mend
// (KIP-1251).
const (
	metadataFeature = "metadata.version"
	metadataOf43    = 30
	groupFeature    = "group.version"
	groupOf848      = 1
)

// ProtocolError says why the brokers can't serve the protocol of a group. No waiting
// heals it.
type ProtocolError struct {
	Protocol string
	Broker   int32
	Reason   string
}

// Error names the broker and what is to be done.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("group protocol %s: broker %d %s: use classic, or newer brokers", e.Protocol, e.Broker, e.Reason)
}

func balancing(protocol string) ([]kgo.GroupOpt, error) {
	switch protocol {
	case "", Classic:
		return []kgo.GroupOpt{kgo.Balancers(kgo.CooperativeStickyBalancer())}, nil
	case Consumer: // sticky is the name of the broker's own uniform assignor here
		return []kgo.GroupOpt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}, nil
	}
	return nil, fmt.Errorf("group protocol %q: want %s or %s", protocol, Classic, Consumer)
}

// Supported asks every broker whether it serves the group's protocol: nil = all do,
// a *ProtocolError = one doesn't. The client would fall back to another protocol
// without a word.
func (g *Group) Supported(ctx context.Context) error {
	if g.protocol != Consumer {
		return nil
	}
	versions, err := g.admin.ApiVersions(ctx)
	if err != nil {
		return fmt.Errorf("asking the brokers for their versions: %w", err)
	}
	for _, broker := range versions.Sorted() {
		if broker.Err != nil {
			return fmt.Errorf("asking broker %d for its versions: %w", broker.NodeID, broker.Err)
		}
		var metadata, group int16
		for _, f := range broker.Raw().SupportedFeatures {
			if f.Name == metadataFeature {
				metadata = f.MaxVersion
			}
		}
		for _, f := range broker.Raw().FinalizedFeatures {
			if f.Name == groupFeature {
				group = f.MaxVersionLevel
			}
		}
		switch {
		case metadata < metadataOf43:
			return &ProtocolError{g.protocol, broker.NodeID, "is older than Kafka 4.3"}
		case group < groupOf848:
			return &ProtocolError{g.protocol, broker.NodeID, "has it switched off (feature group.version)"}
		}
	}
	return nil
}
