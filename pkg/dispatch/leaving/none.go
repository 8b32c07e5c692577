package leaving

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
)

// errNoTx is what a handler without a transaction gets for what needs one.
var errNoTx = errors.New("the group runs at least once and declares no tables, facts or effects: it has no transaction")

// NoTx is what a handler sees that runs without a transaction.
func NoTx() consumer.Tx { return consumer.Tx{DB: none{}, Out: none{}} }

// none refuses all that a transaction offers.
type none struct{}

// ExecContext implements consumer.DB.
func (none) ExecContext(context.Context, string, ...any) (sql.Result, error) { return nil, errNoTx }

// PrepareContext implements consumer.DB.
func (none) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, errNoTx }

// QueryContext implements consumer.DB.
func (none) QueryContext(context.Context, string, ...any) (*sql.Rows, error) { return nil, errNoTx }

// QueryRowContext implements consumer.DB. A row has no other way to carry an error
// than a database that refuses.
func (none) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	db := sql.OpenDB(nowhere{})
	defer db.Close()
	return db.QueryRowContext(ctx, query, args...)
}

// Publish implements consumer.Out.
func (none) Publish(event.New) error { return errNoTx }

// Effect implements consumer.Out.
func (none) Effect(string, string, any) error { return errNoTx }

// nowhere is a database that cannot be reached.
type nowhere struct{}

// Connect implements driver.Connector.
func (nowhere) Connect(context.Context) (driver.Conn, error) { return nil, errNoTx }

// Driver implements driver.Connector.
func (nowhere) Driver() driver.Driver { return nil }
