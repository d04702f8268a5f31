package network

import (
	"context"
	"fmt"

	"sigs.k8s.io/knftables"
)

// A packet must pass every table. Docker, and others that speak iptables, set
// the policy of the chain FORWARD in table ip filter to drop, which no rule of
// ours can undo from another table. So where that chain exists, it gets two
// rules that let pods through, as other pod networks do. They bear a comment to
// know them by.
const (
	foreignTable = "filter"
	foreignChain = "FORWARD"
)

func foreignComment(cluster string) string { return "coracle pods of cluster " + cluster }

// passForeignChain makes sure that the rules are there, if the chain is.
func passForeignChain(ctx context.Context, c Config) error {
	nft, rules, err := foreignRules(ctx, c.ClusterName)
	if err != nil || nft == nil || len(rules) == 2 {
		return err
	}
	tx := nft.NewTransaction()
	deleteForeign(tx, rules)
	pods := `"` + c.linkPrefix() + `*"`
	for _, way := range []string{"iifname", "oifname"} {
		tx.Insert(&knftables.Rule{Chain: foreignChain, Rule: knftables.Concat(way, pods, "accept"), Comment: knftables.PtrTo(foreignComment(c.ClusterName))})
	}
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("letting pods through chain %s of table ip %s: %w", foreignChain, foreignTable, err)
	}
	return nil
}

// leaveForeignChain removes the rules.
func leaveForeignChain(ctx context.Context, cluster string) error {
	nft, rules, err := foreignRules(ctx, cluster)
	if err != nil || len(rules) == 0 {
		return err
	}
	tx := nft.NewTransaction()
	deleteForeign(tx, rules)
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("removing our rules from chain %s of table ip %s: %w", foreignChain, foreignTable, err)
	}
	return nil
}

func deleteForeign(tx *knftables.Transaction, rules []*knftables.Rule) {
	for _, r := range rules {
		tx.Delete(&knftables.Rule{Chain: foreignChain, Handle: r.Handle})
	}
}

// foreignRules returns our rules in the chain, and nil for nft if there is no
// such chain.
func foreignRules(ctx context.Context, cluster string) (knftables.Interface, []*knftables.Rule, error) {
	nft, err := knftables.New(knftables.IPv4Family, foreignTable)
	if err != nil {
		return nil, nil, fmt.Errorf("opening nftables: %w", err)
	}
	all, err := nft.ListRules(ctx, foreignChain)
	if knftables.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listing chain %s of table ip %s: %w", foreignChain, foreignTable, err)
	}
	var ours []*knftables.Rule
	for _, r := range all {
		if r.Comment != nil && *r.Comment == foreignComment(cluster) {
			ours = append(ours, r)
		}
	}
	return nft, ours, nil
}
