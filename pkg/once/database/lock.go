package database

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// LockRoles makes this process the only one that runs roles on an SQLite database,
// by a lock on the file <database>.lock, which ends with the process. The error,
// ErrLocked, names the holder's process id. On PostgreSQL any number of processes
// may run roles, and nothing is locked.
func (db *DB) LockRoles() (release func() error, err error) {
	if db.dialect == PostgreSQL {
		return func() error { return nil }, nil
	}
	return LockFile(db.path + ".lock")
}

// LockFile makes this process the only one that has a file locked, until release or the
// end of the process; else the error is ErrLocked.
func LockFile(name string) (release func() error, err error) {
	return lockFile(name, syscall.LOCK_EX|syscall.LOCK_NB)
}

// lockFile locks a file that names its holder. The file stays: removing it would
// let two processes lock two files.
func lockFile(name string, how int) (release func() error, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the database: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), how)
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Flock(int(f.Fd()), how)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 32)) // who it is only makes the message better
		_ = f.Close()
		return nil, fmt.Errorf("%w: process %s holds %s", ErrLocked, strings.TrimSpace(string(holder)), name)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
	}
	return f.Close, nil
}
