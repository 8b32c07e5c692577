package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// LossError says that a plan would let records be deleted in topics that were not
// named. Nothing was changed.
type LossError struct {
	Topics []string
	Detail string
}

// Error names the topics and what they would lose.
func (e *LossError) Error() string {
	return "records would be deleted: " + e.Detail + ": name the topics to do it: " + strings.Join(e.Topics, ", ")
}

// Apply does what a plan says: it creates and alters, and leaves what is blocked or
// extra. Alterations that delete records are done for the topics in destroy only;
// any other is a *LossError before anything is changed. It returns when the new
// topics have leaders. A topic that somebody else created meanwhile is no error.
func Apply(ctx context.Context, admin *kadm.Client, p Plan, destroy ...string) error {
	if err := refuseLoss(p, destroy); err != nil {
		return err
	}
	var created []string
	var errs []error
	for _, c := range p.Changes {
		switch c.Action {
		case Create:
			created = append(created, c.Topic)
			errs = append(errs, create(ctx, admin, c))
		case Alter:
			errs = append(errs, alter(ctx, admin, c))
		case Blocked, Extra:
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return awaitLeaders(ctx, admin, created)
}

func refuseLoss(p Plan, destroy []string) error {
	loss := &LossError{}
	var detail []string
	for _, c := range p.Changes {
		if c.Loses != "" && !slices.Contains(destroy, c.Topic) {
			loss.Topics = append(loss.Topics, c.Topic)
			detail = append(detail, c.Topic+": "+c.Loses)
		}
	}
	if len(loss.Topics) == 0 {
		return nil
	}
	loss.Detail = strings.Join(detail, "; ")
	return loss
}

func create(ctx context.Context, admin *kadm.Client, c Change) error {
	configs := map[string]*string{}
	for _, d := range c.Diffs {
		if d.Setting != "partitions" && d.Setting != "replication.factor" {
			configs[d.Setting] = &d.Declared
		}
	}
	resp, err := admin.CreateTopic(ctx, c.partitions, c.replicas, configs, c.Topic)
	if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return withDetail(fmt.Errorf("creating topic %s: %w", c.Topic, err), resp.ErrMessage)
}

func alter(ctx context.Context, admin *kadm.Client, c Change) error {
	var set []kadm.AlterConfig
	for _, d := range c.Diffs {
		if d.Declared == "" {
			set = append(set, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: d.Setting})
			continue
		}
		set = append(set, kadm.AlterConfig{Op: kadm.SetConfig, Name: d.Setting, Value: &d.Declared})
	}
	resps, err := admin.AlterTopicConfigs(ctx, set, c.Topic)
	if err != nil {
		return fmt.Errorf("altering topic %s: %w", c.Topic, err)
	}
	for _, r := range resps {
		if r.Err != nil {
			return withDetail(fmt.Errorf("altering topic %s: %w", c.Topic, r.Err), r.ErrMessage)
		}
	}
	return nil
}

func withDetail(err error, detail string) error {
	if detail == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, detail)
}

// awaitLeaders waits until every partition can be written: a broker knows a new
// topic some time after it was created.
func awaitLeaders(ctx context.Context, admin *kadm.Client, names []string) error {
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := admin.ListTopics(ctx, names...)
		if err == nil && !slices.ContainsFunc(names, func(n string) bool { return !led(found[n]) }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the leaders of new topics: %w", errors.Join(ctx.Err(), err))
		}
	}
}

func led(d kadm.TopicDetail) bool {
	for _, p := range d.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return d.Err == nil && len(d.Partitions) > 0
}
