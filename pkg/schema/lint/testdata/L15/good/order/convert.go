package order

func (p *PlacedV2) Upcasts() {}
