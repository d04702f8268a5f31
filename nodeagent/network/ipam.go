package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// errExhausted says that every address of the node's range is taken.
var errExhausted = errors.New("no free address")

// attachment is what owns an address: one interface of one sandbox.
type attachment struct{ ContainerID, IfName string }

// allocation is an address and its owner, as kept in its file.
type allocation struct {
	Address     netip.Addr    `json:"address"`
	ContainerID string        `json:"containerID"`
	IfName      string        `json:"ifName"`
	NetNS       string        `json:"netns"`
	Pod         string        `json:"pod,omitempty"`
	Ports       []portMapping `json:"ports,omitempty"`
	Created     time.Time     `json:"created"`
}

func (a allocation) key() attachment { return attachment{a.ContainerID, a.IfName} }

// pool hands out the addresses of a range. Each allocation is a file named by
// its address, written under another name first, so that a file is whole or
// not there. One process at a time may have it open.
type pool struct {
	dir    string
	prefix netip.Prefix

	mu     sync.Mutex
	byAddr map[netip.Addr]allocation
	byKey  map[attachment]netip.Addr
	// last is the address given out last. The search goes on from it, so that an
	// address rests for as long as possible before it is used again.
	last netip.Addr
}

// openPool reads the allocations in dir, which it makes if missing. Files that
// are not whole, or whose address is not in the range, are removed.
func openPool(ctx context.Context, dir string, prefix netip.Prefix) (*pool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of addresses: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the directory of addresses: %w", err)
	}
	p := &pool{dir: dir, prefix: prefix, byAddr: map[netip.Addr]allocation{}, byKey: map[attachment]netip.Addr{}}
	var newest time.Time
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		a, err := readAllocation(path)
		if err != nil || !p.usable(a.Address) || a.Address.String() != e.Name() {
			klog.FromContext(ctx).Info("Removing an address file that cannot be used", "file", path, "reason", err)
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("removing a broken address file: %w", err)
			}
			continue
		}
		p.byAddr[a.Address], p.byKey[a.key()] = a, a.Address
		if a.Created.After(newest) {
			newest, p.last = a.Created, a.Address
		}
	}
	return p, nil
}

func readAllocation(path string) (allocation, error) {
	var a allocation
	data, err := os.ReadFile(path)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, err
	}
	if a.ContainerID == "" || a.IfName == "" {
		return a, errors.New("owner is missing")
	}
	return a, nil
}

// usable tells whether a pod may have the address: not the network's own, not
// the gateway's, not the broadcast address.
func (p *pool) usable(a netip.Addr) bool {
	network := p.prefix.Addr()
	return a.IsValid() && p.prefix.Contains(a) && a != network && a != network.Next() && p.prefix.Contains(a.Next())
}

// allocate gives an address to the owner that is named in a, or the one that it
// has already, with the new particulars.
func (p *pool) allocate(a allocation) (allocation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if had, ok := p.byKey[a.key()]; ok {
		a.Address, a.Created = had, p.byAddr[had].Created
	} else {
		free, ok := p.free()
		if !ok {
			return a, fmt.Errorf("%w in %v: all %d are taken", errExhausted, p.prefix, len(p.byAddr))
		}
		a.Address = free
	}
	if err := p.write(a); err != nil {
		return a, err
	}
	p.byAddr[a.Address], p.byKey[a.key()] = a, a.Address
	p.last = a.Address
	return a, nil
}

func (p *pool) free() (netip.Addr, bool) {
	start := p.last
	if !p.usable(start) {
		start = p.prefix.Addr().Next()
	}
	for a := start.Next(); a != start; a = a.Next() {
		if !p.prefix.Contains(a) {
			a = p.prefix.Addr()
			if a == start {
				break
			}
			continue
		}
		if _, taken := p.byAddr[a]; !taken && p.usable(a) {
			return a, true
		}
	}
	_, taken := p.byAddr[start]
	return start, !taken && p.usable(start)
}

func (p *pool) write(a allocation) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding an allocation: %w", err)
	}
	temporary := filepath.Join(p.dir, "."+a.Address.String())
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("writing an address file: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(p.dir, a.Address.String())); err != nil {
		return fmt.Errorf("writing an address file: %w", err)
	}
	return nil
}

func (p *pool) lookup(k attachment) (allocation, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	address, ok := p.byKey[k]
	return p.byAddr[address], ok
}

// release frees the address of an owner, if it has one.
func (p *pool) release(k attachment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	address, ok := p.byKey[k]
	if !ok {
		return nil
	}
	err := os.Remove(filepath.Join(p.dir, address.String()))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing an address file: %w", err)
	}
	delete(p.byKey, k)
	delete(p.byAddr, address)
	return nil
}

// list returns the allocations, oldest first.
func (p *pool) list() []allocation {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]allocation, 0, len(p.byAddr))
	for _, a := range p.byAddr {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b allocation) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Address.String(), b.Address.String())
	})
	return all
}
