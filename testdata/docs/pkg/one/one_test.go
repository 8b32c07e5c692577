package one

import "testing"

func TestOne(t *testing.T) { t.Run("told", func(*testing.T) {}) }
