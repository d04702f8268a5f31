package snapshot

import "strconv"

// WishKind is which of a pod's lists a term is in.
type WishKind byte

// Kinds of wishes.
const (
	RequiredNear WishKind = iota
	RequiredAway
	PreferredNear
	PreferredAway
)

// Wish is a term that pods on nodes have about other pods. Pods of one controller share theirs, so that what they wish of
// a newcomer is asked once, however many they are.
type Wish struct {
	Kind   WishKind
	Term   Term
	ByNode map[*Node]int // pods that have it
}

// Wishes are those of all pods on nodes. The map belongs to the cluster.
func (c *Cluster) Wishes() map[string]*Wish { return c.wishes }

func (c *Cluster) countWishes(p *Pod, n *Node, sign int) {
	for kind, terms := range [...][]Term{p.RequiredAffinity, p.RequiredAntiAffinity, p.PreferredAffinity, p.PreferredAntiAffinity} {
		for i := range terms {
			c.countWish(WishKind(kind), &terms[i], n, sign)
		}
	}
}

func (c *Cluster) countWish(kind WishKind, t *Term, n *Node, sign int) {
	key := string('0'+rune(kind)) + strconv.FormatInt(t.Weight, 10) + "|" + t.TopologyKey + "|" + t.key()
	w := c.wishes[key]
	if w == nil {
		w = &Wish{Kind: kind, Term: *t, ByNode: map[*Node]int{}}
		c.wishes[key] = w
	}
	if w.ByNode[n] += sign; w.ByNode[n] == 0 {
		if delete(w.ByNode, n); len(w.ByNode) == 0 {
			delete(c.wishes, key)
		}
	}
}
