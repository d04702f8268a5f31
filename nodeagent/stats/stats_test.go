package stats

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/utils/ptr"
)

func TestRate(t *testing.T) {
	var c Collector
	at := time.Unix(100, 0)
	if c.rate("x", at, 5) != nil {
		t.Error("a rate of one reading")
	}
	if c.rate("x", at.Add(100*time.Millisecond), 5) != nil {
		t.Error("a rate over a tenth of a second")
	}
	if r := c.rate("x", at.Add(2*time.Second), 5+3e9); r == nil || *r != 1.5e9 {
		t.Errorf("rate %v", r)
	}
	if r := c.rate("x", at.Add(2500*time.Millisecond), 9e9); r == nil || *r != 1.5e9 {
		t.Errorf("rate %v after half a second", r)
	}
	c.forget(at.Add(time.Minute))
	if c.rate("x", at.Add(time.Hour), 1) != nil {
		t.Error("a forgotten reading counts")
	}
}

func TestParseNetDev(t *testing.T) {
	const text = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n" +
		"  eth0:    1100      12    3    0    0     0          0         0      900      10    4    0    0     0       0          0\n"
	want := []statsapi.InterfaceStats{{Name: "eth0", RxBytes: ptr.To[uint64](1100), RxErrors: ptr.To[uint64](3), TxBytes: ptr.To[uint64](900), TxErrors: ptr.To[uint64](4)}}
	if diff := cmp.Diff(want, parseNetDev(text)); diff != "" {
		t.Error(diff)
	}
}

// TestMachine: the figures of this machine make sense.
func TestMachine(t *testing.T) {
	before, err := machineCPU()
	if err != nil || before == 0 {
		t.Fatalf("%d, %v", before, err)
	}
	m, err := machineMemory(time.Now())
	if err != nil || *m.WorkingSetBytes == 0 || *m.WorkingSetBytes > *m.UsageBytes || *m.AvailableBytes == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if boot := bootTime(); boot.IsZero() || boot.After(time.Now()) {
		t.Errorf("booted at %v", boot)
	}
}
