package books

import "context"

// Stream reads what stands in Kafka, without the databases.
func (o Options) Stream(ctx context.Context) (Stock, error) { return o.stream(ctx) }
