package a

type Thing struct{}

func (Thing) Do() {}

func Make() Thing { return Thing{} }

const Size = 1

type hidden struct{}

func (hidden) Do() {}
