package footprint

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// resident is a field of /proc/self/status in KiB.
func resident(t *testing.T, field string) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), field+":")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

func TestShrinkGivesBackPagesAndHeap(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(program); err != nil {
		t.Fatal(err)
	}
	garbage := make([]byte, 64<<20)
	for i := 0; i < len(garbage); i += 4096 {
		garbage[i] = 1
	}
	before := resident(t, "RssAnon")
	garbage = nil
	_ = garbage
	if err := Shrink(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t, "RssAnon"); after > before-(50<<10) {
		t.Errorf("%d KiB of heap were resident, and %d are after 64 MiB became garbage", before, after)
	}
}

func TestProgramPages(t *testing.T) {
	const smaps = `00400000-02a00000 r-xp 00000000 fe:00 1234                       /usr/local/bin/coracle
Size:              39936 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
02a00000-07e00000 r--p 02600000 fe:00 1234                       /usr/local/bin/coracle
Anonymous:             0 kB
07e00000-08000000 rw-p 07a00000 fe:00 1234                       /usr/local/bin/coracle
Anonymous:             0 kB
08000000-08100000 r--p 07c00000 fe:00 1234                       /usr/local/bin/coracle
Anonymous:             8 kB
c000000000-c004000000 rw-p 00000000 00:00 0
Anonymous:         65536 kB
7f0000000000-7f0000100000 r-xp 00000000 fe:00 99                 /lib/x86_64-linux-gnu/libc.so.6
Anonymous:             0 kB
7fff00000000-7fff00021000 r-xp 00000000 00:00 0                  [vdso]
Anonymous:             0 kB
`
	got, err := programPages(strings.NewReader(smaps), "/usr/local/bin/coracle")
	if err != nil {
		t.Fatal(err)
	}
	want := []pages{{0x400000, 0x2a00000}, {0x2a00000, 0x7e00000}}
	if !slices.Equal(got, want) {
		t.Errorf("got %x, want %x: the program's own, not written to, and never before", got, want)
	}
}
