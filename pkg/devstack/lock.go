package devstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the lock file within the data folder. It is never removed: removing
// it would let two processes hold two files of one name.
const lockName = "lock"

// HeldError says that another process holds the data folder.
type HeldError struct {
	Dir   string
	PID   int       // 0 = the holder did not get to say
	Since time.Time // UTC; zero = not said
}

// Error names the holder and what to do.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data folder %s is held by another process: stop it or choose another folder", e.Dir)
	}
	return fmt.Sprintf("data folder %s is held by process %d since %s: stop it or choose another folder",
		e.Dir, e.PID, e.Since.UTC().Format(time.RFC3339))
}

// holder is what the lock file says.
type holder struct {
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// folderLock is an advisory lock of the kernel (flock): it goes with the process,
// however that ends.
type folderLock struct{ file *os.File }

func lockFolder(dir string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		held := &HeldError{Dir: dir}
		var h holder
		if json.NewDecoder(f).Decode(&h) == nil { // an unreadable note leaves the holder unnamed
			held.PID, held.Since = h.PID, h.Since
		}
		return nil, errors.Join(held, f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the data folder %s: %w", dir, err), f.Close())
	}
	l := &folderLock{file: f}
	note, err := json.Marshal(holder{PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(note, '\n'), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the data folder %s: %w", dir, err), l.release())
	}
	return l, nil
}

func (l *folderLock) release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("freeing the data folder: %w", err)
	}
	return nil
}

// Hold holds a data folder without starting parts on it, such as to empty it. The
// error is a *HeldError where another process holds it.
func Hold(dir string) (release func() error, err error) {
	l, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	return l.release, nil
}
