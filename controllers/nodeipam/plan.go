package nodeipam

import (
	"net/netip"
	"slices"
)

// next is the first range of a length within cluster that overlaps with none of
// those in use.
func next(cluster netip.Prefix, bits int, used []netip.Prefix) (_ netip.Prefix, free bool) {
	used = slices.Clone(used)
	slices.SortFunc(used, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	candidate := netip.PrefixFrom(cluster.Addr(), bits)
	for _, u := range used {
		if !u.Overlaps(candidate) {
			continue
		}
		// Go on after whichever of the two is larger.
		after := last(candidate)
		if l := last(u); l.Compare(after) > 0 {
			after = l
		}
		candidate = netip.PrefixFrom(after.Next(), bits)
		if !candidate.IsValid() || !cluster.Contains(candidate.Addr()) {
			return netip.Prefix{}, false
		}
	}
	return candidate, true
}

// last is the last address of a range.
func last(p netip.Prefix) netip.Addr {
	bytes := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(bytes)*8; i++ {
		bytes[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}
