package main_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// link is the way of one process to one part. It can be cut, slowed and torn, for
// this process alone.
type link struct {
	mu    sync.Mutex // one trouble at a time
	proxy *toxiproxy.Proxy
	relay *relay // between the proxy and a broker; nil = any other part
}

// network makes links.
type network struct{ server *toxiproxy.ApiServer }

func newNetwork() *network {
	return &network{toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// link leads from listen to a part.
func (n *network) link(name, listen, to string) (*link, error) {
	p := toxiproxy.NewProxy(n.server, name, listen, to)
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("starting the link %s: %w", name, err)
	}
	return &link{proxy: p}, nil
}

func (l *link) close() error {
	l.proxy.Stop()
	if l.relay != nil {
		return l.relay.l.Close()
	}
	return nil
}

// cut breaks what is connected and refuses what comes; the answer heals it.
func (l *link) cut() (heal func() error, err error) {
	l.proxy.Stop()
	return l.proxy.Start, nil
}

// poison adds a toxic; the answer takes it away.
func (l *link) poison(toxic string) (heal func() error, err error) {
	w, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	if err != nil {
		return nil, fmt.Errorf("adding %s: %w", toxic, err)
	}
	return func() error { return l.proxy.Toxics.RemoveToxic(context.Background(), w.Name) }, nil
}

// brokers are the ways of one process to every broker. Brokers name each other by the
// addresses that they advertise; each relay puts the listening ends of the links in
// their place, so that nothing goes around them.
func (n *network) brokers(name string, listen, to []string) ([]*link, error) {
	ends := map[string]string{}
	for i, broker := range to {
		ends[broker] = listen[i]
	}
	var all []*link
	for i, broker := range to {
		r, err := newRelay(broker, ends)
		if err != nil {
			return nil, err
		}
		l, err := n.link(fmt.Sprintf("%s-kafka%d", name, i+1), listen[i], r.l.Addr().String())
		if err != nil {
			return nil, errors.Join(err, r.l.Close())
		}
		l.relay = r
		all = append(all, l)
	}
	return all, nil
}

// relay speaks enough of Kafka's protocol to change addresses in answers.
type relay struct {
	l      net.Listener
	broker string
	ends   map[string]string // advertised address → listening end
}

func newRelay(broker string, ends map[string]string) (*relay, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the relay to %s: %w", broker, err)
	}
	r := &relay{l: l, broker: broker, ends: ends}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
	return r, nil
}

// asked is a request whose answer names addresses, or versions.
type asked struct{ key, version int16 }

// exchange is one connection.
type exchange struct {
	*relay
	mu   sync.Mutex
	open map[int32]asked // by correlation id
}

func (r *relay) pass(client net.Conn) {
	defer client.Close()
	broker, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", r.broker)
	if err != nil {
		return
	}
	defer broker.Close()
	x := &exchange{relay: r, open: map[int32]asked{}}
	var both sync.WaitGroup
	both.Go(func() { // each way ends with its connection, and ends the other
		_ = x.requests(broker, client)
		_ = broker.Close()
	})
	_ = x.answers(client, broker)
	_ = client.Close()
	both.Wait()
}

func (x *exchange) requests(to io.Writer, from io.Reader) error {
	var head [12]byte // size, api key, version, correlation id
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return err
		}
		a := asked{int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:]))}
		switch kmsg.Key(a.key) {
		case kmsg.Metadata, kmsg.FindCoordinator, kmsg.DescribeCluster, kmsg.ApiVersions:
			x.mu.Lock()
			x.open[int32(binary.BigEndian.Uint32(head[8:]))] = a
			x.mu.Unlock()
		}
		if _, err := to.Write(head[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(to, from, int64(binary.BigEndian.Uint32(head[:]))-8); err != nil {
			return err
		}
	}
}

func (x *exchange) answers(to io.Writer, from io.Reader) error {
	var head [8]byte // size, correlation id
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return err
		}
		rest := int64(binary.BigEndian.Uint32(head[:])) - 4
		id := int32(binary.BigEndian.Uint32(head[4:]))
		x.mu.Lock()
		a, known := x.open[id]
		delete(x.open, id)
		x.mu.Unlock()
		if !known {
			if _, err := to.Write(head[:]); err != nil {
				return err
			}
			if _, err := io.CopyN(to, from, rest); err != nil {
				return err
			}
			continue
		}
		body := make([]byte, rest)
		if _, err := io.ReadFull(from, body); err != nil {
			return err
		}
		body = x.changed(a, body)
		binary.BigEndian.PutUint32(head[:], uint32(len(body)+4))
		if _, err := to.Write(append(head[:], body...)); err != nil {
			return err
		}
	}
}

// changed is an answer with our addresses. What can't be read goes as it is.
func (x *exchange) changed(a asked, body []byte) []byte {
	answer := kmsg.ResponseForKey(a.key)
	answer.SetVersion(a.version)
	header := 0
	if answer.IsFlexible() && kmsg.Key(a.key) != kmsg.ApiVersions {
		header = 1 // no tags
	}
	if answer.ReadFrom(body[header:]) != nil {
		return body
	}
	switch r := answer.(type) {
	case *kmsg.MetadataResponse:
		for i := range r.Brokers {
			x.place(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
	case *kmsg.DescribeClusterResponse:
		for i := range r.Brokers {
			x.place(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
	case *kmsg.FindCoordinatorResponse:
		x.place(&r.Host, &r.Port)
		for i := range r.Coordinators {
			x.place(&r.Coordinators[i].Host, &r.Coordinators[i].Port)
		}
	case *kmsg.ApiVersionsResponse:
		// From these versions on, answers with data name new leaders, too.
		for i, k := range r.ApiKeys {
			switch kmsg.Key(k.ApiKey) {
			case kmsg.Produce:
				r.ApiKeys[i].MaxVersion = min(k.MaxVersion, 9)
			case kmsg.Fetch:
				r.ApiKeys[i].MaxVersion = min(k.MaxVersion, 15)
			}
		}
	}
	return answer.AppendTo(append([]byte(nil), body[:header]...))
}

func (x *exchange) place(host *string, port *int32) {
	end, known := x.ends[fmt.Sprintf("%s:%d", *host, *port)]
	if !known {
		return
	}
	var p int32
	if _, err := fmt.Sscanf(end[strings.LastIndex(end, ":")+1:], "%d", &p); err == nil {
		*host, *port = end[:strings.LastIndex(end, ":")], p
	}
}
