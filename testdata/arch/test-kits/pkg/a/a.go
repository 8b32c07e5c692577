package a

import "github.com/eventspine/spine/pkg/atest"

func A() { atest.Run() }
