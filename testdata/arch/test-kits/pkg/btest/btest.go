package btest

import "github.com/eventspine/spine/pkg/atest"

func Run() { atest.Run() }
