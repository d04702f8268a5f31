package netnstest

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// Serve answers TCP connections and UDP packets at an address of the namespace
// with the name and the peer's address as seen, such as "a 10.0.0.2".
func (ns *NS) Serve(name, address string) {
	ns.t.Helper()
	ns.Do(func() {
		var listen net.ListenConfig
		l, err := listen.Listen(context.Background(), "tcp4", address)
		if err != nil {
			ns.t.Errorf("listening at %s: %v", address, err)
			return
		}
		p, err := listen.ListenPacket(context.Background(), "udp4", address)
		if err != nil {
			ns.t.Errorf("listening at %s: %v", address, err)
			return
		}
		ns.t.Cleanup(func() { l.Close(); p.Close() })
		go answerStream(l, name)
		go answerPackets(p, name)
	})
}

func answerStream(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		_, _ = io.WriteString(c, name+" "+host)
		c.Close()
	}
}

func answerPackets(p net.PacketConn, name string) {
	b := make([]byte, 64)
	for {
		_, from, err := p.ReadFrom(b)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(from.String())
		_, _ = p.WriteTo([]byte(name+" "+host), from)
	}
}

// Ask connects from the namespace and returns what the server answers. A nil
// NS asks from the test's own namespace.
func (ns *NS) Ask(network, address string) (answer string, err error) {
	ask := func() { answer, err = askHere(network, address, nil) }
	if ns == nil {
		ask()
	} else {
		ns.Do(ask)
	}
	return answer, err
}

// AskFrom is Ask with a local address.
func (ns *NS) AskFrom(network, address string, local net.Addr) (answer string, err error) {
	ask := func() { answer, err = askHere(network, address, local) }
	if ns == nil {
		ask()
	} else {
		ns.Do(ask)
	}
	return answer, err
}

func askHere(network, address string, local net.Addr) (string, error) {
	d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: local}
	c, err := d.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if network[:3] == "udp" {
		if _, err := c.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	b := make([]byte, 256)
	n, err := c.Read(b)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(b[:n]), err
}
