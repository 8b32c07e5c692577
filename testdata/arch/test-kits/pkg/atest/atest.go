package atest

func Run() {}
