package intake

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	_ "modernc.org/sqlite" // the driver of the spool

	"github.com/eventspine/spine/pkg/wire"
)

// errFull says that the spool holds as many bytes as it may.
var errFull = errors.New("the spool is full")

var errClosed = errors.New("the spool is closed")

// spool holds records that Kafka did not take in time: one SQLite file, written with
// synchronous=FULL, so that a commit is on the disk. Other processes may read it;
// the lock beside it keeps out a second one that would drain it.
type spool struct {
	db    *sql.DB
	lock  *sql.DB
	limit int64         // bytes
	adds  chan *arrival // to the one writer
	wake  chan struct{} // a record has come
	quit  chan struct{}
	once  sync.Once
	gone  sync.WaitGroup

	mu      sync.Mutex
	lanes   map[string]int // records per topic and key, those being written among them
	records int64
	bytes   int64
	away    bool // Kafka did not take the last record that was tried
}

// arrival is a record on its way into the spool.
type arrival struct {
	record *kgo.Record
	done   chan error
}

// row is a record of the spool.
type row struct {
	id     int64
	record *kgo.Record
}

func (r row) lane() string { return laneOf(r.record) }

// laneOf is what keeps its order: a key in its topic.
func laneOf(r *kgo.Record) string { return r.Topic + "\x00" + string(r.Key) }

// sizeOf is what a record counts for, by what it carries.
func sizeOf(r *kgo.Record) int64 {
	size := len(r.Topic) + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return int64(size)
}

// table keeps ids from coming back: a pass remembers where it is by them.
const table = `CREATE TABLE IF NOT EXISTS spool (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	delivery TEXT NOT NULL, -- its id
	topic    TEXT NOT NULL,
	key      BLOB NOT NULL,
	value    BLOB NOT NULL,
	headers  TEXT NOT NULL, -- JSON, in order
	size     INTEGER NOT NULL
)`

func openSpool(path string, limit int64) (*spool, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil { // it holds what customers bought
		return nil, fmt.Errorf("opening the spool %s: %w", path, err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("opening the spool %s: does another process use it? %w", path, err)
	}
	db, err := open(path, "_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the spool %s: %w", path, err), lock.Close())
	}
	s := &spool{
		db: db, lock: lock, limit: limit,
		adds: make(chan *arrival), wake: make(chan struct{}, 1), quit: make(chan struct{}), lanes: map[string]int{},
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the spool %s: %w", path, err), db.Close(), lock.Close())
	}
	s.gone.Go(s.write)
	return s, nil
}

// own is the context of work that serves many senders, or none yet: no sender's leave
// may break it off.
func own() context.Context {
	return context.Background() //nolint:forbidigo // the one writer of the spool outlives every request
}

func open(path, options string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: url.PathEscape(path)}).String()+"?"+options)
	if err == nil {
		db.SetMaxOpenConns(1) // one writer
	}
	return db, err
}

// lockFile takes a lock that ends with the process: that of an SQLite file, because
// it works the same everywhere.
func lockFile(path string) (*sql.DB, error) {
	db, err := open(path, "_pragma=busy_timeout(0)&_pragma=locking_mode(EXCLUSIVE)")
	if err != nil {
		return nil, err
	}
	db.SetConnMaxLifetime(0) // the lock is the connection's
	if _, err := db.ExecContext(own(), `CREATE TABLE IF NOT EXISTS lock (x); DELETE FROM lock; INSERT INTO lock VALUES (1)`); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Spooled lists the ids of the deliveries in a spool that another process may have
// open. A file that does not exist holds none.
func Spooled(ctx context.Context, path string) (ids []string, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	db, err := open(path, "mode=ro&_pragma=busy_timeout(1000)")
	if err != nil {
		return nil, fmt.Errorf("reading the spool %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT delivery FROM spool ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("reading the spool %s: %w", path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("reading the spool %s: %w", path, err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// load makes the table and counts what an earlier process left.
func (s *spool) load() error {
	ctx := own()
	if _, err := s.db.ExecContext(ctx, table); err != nil {
		return err
	}
	var found string
	if err := s.db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); err != nil || found != "ok" {
		return errors.Join(fmt.Errorf("checking the file: %s", found), err)
	}
	rows, err := s.db.QueryContext(ctx, `SELECT topic, key, count(*), sum(size) FROM spool GROUP BY topic, key`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r kgo.Record
		var count int
		var size int64
		if err := rows.Scan(&r.Topic, &r.Key, &count, &size); err != nil {
			return err
		}
		s.lanes[laneOf(&r)] = count
		s.records, s.bytes = s.records+int64(count), s.bytes+size
	}
	return rows.Err()
}

// depth says how much is in the spool.
func (s *spool) depth() (records, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records, s.bytes
}

// state says whether earlier records of a lane are in the spool, and whether Kafka
// seems to be away, which only an emptied spool or a record that it takes disproves.
func (s *spool) state(lane string) (behind, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[lane] > 0, s.away && s.records > 0
}

func (s *spool) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// account changes the books by n records like r, and says whether they fit.
func (s *spool) account(r *kgo.Record, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int64(n) * sizeOf(r)
	if n > 0 && s.bytes+size > s.limit {
		return false
	}
	s.records, s.bytes = s.records+int64(n), s.bytes+size
	lane := laneOf(r)
	if s.lanes[lane] += n; s.lanes[lane] <= 0 {
		delete(s.lanes, lane)
	}
	return true
}

// add answers nil once the record is on the disk.
func (s *spool) add(ctx context.Context, r *kgo.Record, budget time.Duration) error {
	timer := time.NewTimer(budget)
	defer timer.Stop()
	a := &arrival{record: r, done: make(chan error, 1)}
	select {
	case s.adds <- a:
	case <-s.quit:
		return errClosed
	case <-timer.C:
		return errors.New("the spool is slow")
	case <-ctx.Done():
		return fmt.Errorf("spooling: %w", ctx.Err())
	}
	select {
	case err := <-a.done:
		return err
	case <-timer.C: // it may still be written: the sender's next try is one more delivery
		return errors.New("spooling: outcome unknown: the disk is slow")
	}
}

// write is the one writer: what arrives while it writes goes into the next
// transaction together, so that one fsync serves many.
func (s *spool) write() {
	for {
		var batch []*arrival
		select {
		case <-s.quit:
			return
		case a := <-s.adds:
			batch = append(batch, a)
		}
		for more := true; more && len(batch) < 256; {
			select {
			case a := <-s.adds:
				batch = append(batch, a)
			default:
				more = false
			}
		}
		s.writeBatch(batch)
	}
}

func (s *spool) writeBatch(batch []*arrival) {
	var fit []*arrival
	for _, a := range batch {
		// Counted before it is written: a later record of the key sees it.
		if s.account(a.record, 1) {
			fit = append(fit, a)
		} else {
			a.done <- errFull
		}
	}
	if len(fit) == 0 {
		return
	}
	err := s.insert(fit)
	for _, a := range fit {
		if err != nil {
			s.account(a.record, -1)
		}
		a.done <- err
	}
	if err == nil {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *spool) insert(batch []*arrival) error {
	ctx := own()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("spooling: %w", err)
	}
	defer tx.Rollback()
	for _, a := range batch {
		headers, err := json.Marshal(a.record.Headers)
		if err != nil {
			return fmt.Errorf("spooling: %w", err)
		}
		r := a.record
		if _, err := tx.ExecContext(ctx, `INSERT INTO spool (delivery, topic, key, value, headers, size) VALUES ($1, $2, $3, $4, $5, $6)`,
			deliveryOf(r), r.Topic, blob(r.Key), blob(r.Value), string(headers), sizeOf(r)); err != nil {
			return fmt.Errorf("spooling: %w", err)
		}
	}
	if err := tx.Commit(); err != nil { // promise: accepted. Not before this is a sender answered 2xx
		return fmt.Errorf("spooling: %w", err)
	}
	return nil
}

// deliveryOf is the id of the delivery in a record.
func deliveryOf(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == wire.HeaderID {
			return string(h.Value)
		}
	}
	return ""
}

// blob keeps an empty text from becoming NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// The bounds of what is read, published and removed together.
const (
	nextRecords = 200
	nextBytes   = 8 << 20
)

// next are the first records behind an id, in order of arrival.
func (s *spool) next(ctx context.Context, after int64) ([]row, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, topic, key, value, headers FROM spool WHERE id > $1 ORDER BY id LIMIT $2`, after, nextRecords)
	if err != nil {
		return nil, fmt.Errorf("reading the spool: %w", err)
	}
	defer rows.Close()
	var found []row
	for size := int64(0); size < nextBytes && rows.Next(); {
		r := row{record: &kgo.Record{}}
		var headers string
		if err := rows.Scan(&r.id, &r.record.Topic, &r.record.Key, &r.record.Value, &headers); err != nil {
			return nil, fmt.Errorf("reading the spool: %w", err)
		}
		if err := json.Unmarshal([]byte(headers), &r.record.Headers); err != nil {
			return nil, fmt.Errorf("reading the spool: headers of row %d: %w", r.id, err)
		}
		found, size = append(found, r), size+sizeOf(r.record)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the spool: %w", err)
	}
	return found, nil
}

// remove forgets records that Kafka has acknowledged. Where it fails they are
// published again, under the same delivery id.
func (s *spool) remove(ctx context.Context, rows []row) error {
	ids := make([]int64, len(rows))
	for n, r := range rows {
		ids[n] = r.id
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return fmt.Errorf("removing from the spool: %w", err)
	}
	if _, err := s.db.ExecContext(context.WithoutCancel(ctx), `DELETE FROM spool WHERE id IN (SELECT value FROM json_each($1))`, string(list)); err != nil {
		return fmt.Errorf("removing from the spool: %w", err)
	}
	for _, r := range rows {
		s.account(r.record, -1)
	}
	return nil
}

// close ends the writer and closes the file. What is in it stays.
func (s *spool) close() error {
	s.once.Do(func() { close(s.quit) })
	s.gone.Wait()
	return errors.Join(s.db.Close(), s.lock.Close())
}
