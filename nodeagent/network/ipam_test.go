package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openTestPool(t *testing.T, dir, cidr string) *pool {
	t.Helper()
	p, err := openPool(t.Context(), dir, netip.MustParsePrefix(cidr))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustAllocate(t *testing.T, p *pool, id string, created time.Time) netip.Addr {
	t.Helper()
	a, err := p.allocate(allocation{ContainerID: id, IfName: "eth0", NetNS: "/x", Created: created})
	if err != nil {
		t.Fatalf("allocating for %s: %v", id, err)
	}
	return a.Address
}

func TestPoolUsesEveryAddressOnceAndRotates(t *testing.T) {
	p := openTestPool(t, t.TempDir(), "10.1.2.0/29")
	var got []string
	for i := range 5 {
		got = append(got, mustAllocate(t, p, fmt.Sprint(i), time.Unix(int64(i), 0)).String())
	}
	want := "[10.1.2.2 10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6]"
	if fmt.Sprint(got) != want {
		t.Errorf("addresses: got %v, want %s", got, want)
	}
	if _, err := p.allocate(allocation{ContainerID: "more", IfName: "eth0"}); !errors.Is(err, errExhausted) {
		t.Errorf("a sixth address: got error %v, want %v", err, errExhausted)
	}
	for _, id := range []string{"1", "4"} {
		if err := p.release(attachment{id, "eth0"}); err != nil {
			t.Fatal(err)
		}
	}
	if a := mustAllocate(t, p, "6", time.Unix(6, 0)); a.String() != "10.1.2.6" && a.String() != "10.1.2.3" {
		t.Errorf("got %v, want one that was freed", a)
	}
}

func TestPoolDoesNotReuseAnAddressAtOnce(t *testing.T) {
	p := openTestPool(t, t.TempDir(), "10.1.2.0/24")
	first := mustAllocate(t, p, "a", time.Unix(1, 0))
	if err := p.release(attachment{"a", "eth0"}); err != nil {
		t.Fatal(err)
	}
	if second := mustAllocate(t, p, "b", time.Unix(2, 0)); second == first {
		t.Errorf("the address %v was given out again at once", first)
	}
}

func TestPoolSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	p := openTestPool(t, dir, "10.1.2.0/24")
	a := mustAllocate(t, p, "a", time.Unix(1, 0))
	b := mustAllocate(t, p, "b", time.Unix(2, 0))
	for name, content := range map[string]string{
		"10.1.2.77":  "", // cut short by a power loss
		"10.1.2.78":  `{"address":"10.1.2.79","containerID":"x","ifName":"eth0"}`,
		"10.9.9.9":   `{"address":"10.9.9.9","containerID":"x","ifName":"eth0"}`,
		".10.1.2.80": `{"address":"10.1.2.80"`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p = openTestPool(t, dir, "10.1.2.0/24")
	if again := mustAllocate(t, p, "a", time.Unix(9, 0)); again != a {
		t.Errorf("after a restart, a has %v, want %v", again, a)
	}
	if n := len(p.list()); n != 2 {
		t.Errorf("after a restart there are %d allocations, want 2: %v", n, p.list())
	}
	if c := mustAllocate(t, p, "c", time.Unix(10, 0)); c == a || c == b {
		t.Errorf("c was given %v, which is taken", c)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("files: got %v (%v), want three", entries, err)
	}
}
