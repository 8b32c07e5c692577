package serve

import (
	"context"
	"fmt"
	"sync"

	"github.com/eventspine/spine/pkg/dispatch/alarm"
)

func (s *server) newAlarms() (*alarm.Alarms, error) {
	webhook, err := s.Config.Resolve(s.Config.Alarms.Webhook)
	if err != nil {
		return nil, fmt.Errorf("alarms.webhook: %w", err)
	}
	return alarm.New(alarm.Options{
		Webhook: webhook, Every: s.Config.Alarms.Every, Meter: s.metrics.Meter("spine/alarm"), Log: s.Log,
	})
}

// startAlarms sends alarms until it is told to stop, which is after the groups have
// ended: what they say last is sent, too.
func (s *server) startAlarms(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var sending sync.WaitGroup
	sending.Go(func() { s.alarms.Run(ctx) })
	return func() { cancel(); sending.Wait() }
}
