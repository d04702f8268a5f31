// Package footprint makes a process that has started smaller.
//
// A program of Coracle's size touches tens of megabytes of its own file while it starts, most of which
// it never needs again, and leaves a heap larger than what comes after. Shrink gives both back: heap
// to the system, and the pages of the program's file to the page cache, from where the few that are
// needed return at once, without a read. It changes nothing that the program can see.
package footprint

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ShrinkAfter calls Shrink once, when a start has settled, unless ctx ends before.
func ShrinkAfter(ctx context.Context, settled time.Duration) {
	timer := time.AfterFunc(settled, func() { _ = Shrink() }) // no more than memory is lost
	context.AfterFunc(ctx, func() { timer.Stop() })
}

// Shrink returns memory that the process can do without.
func Shrink() error {
	debug.FreeOSMemory()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer file.Close()
	ranges, err := programPages(file, program)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range ranges {
		// Nothing was ever written to these pages of a file: they come back as they were when they
		// are touched again.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("giving back pages %x-%x: %w", r.start, r.end, errno))
		}
	}
	return errors.Join(errs...)
}

// pages are those from start up to end.
type pages struct{ start, end uintptr }

// programPages finds, in the kernel's detailed list of mappings, those of the program's file that
// can't be written to and hold no page that ever was: a linker may have written to pages before it
// made them read-only.
func programPages(smaps io.Reader, program string) ([]pages, error) {
	var found []pages
	var current pages
	ours := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"): // a mapping's first line
			_, err := fmt.Sscanf(fields[0], "%x-%x", &current.start, &current.end)
			ours = err == nil && len(fields) >= 6 && fields[5] == program && !strings.Contains(fields[1], "w")
		case ours && fields[0] == "Anonymous:" && fields[1] == "0":
			found = append(found, current)
		}
	}
	return found, lines.Err()
}
