package serviceaccount

import (
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	apiserversa "k8s.io/apiserver/pkg/authentication/serviceaccount"
)

// Reference names an object, and which one of that name.
type Reference struct {
	Name string    `json:"name,omitempty"`
	UID  types.UID `json:"uid,omitempty"`
}

// cluster are the claims of a token that are Kubernetes's own.
type cluster struct {
	Namespace string           `json:"namespace,omitempty"`
	Account   Reference        `json:"serviceaccount,omitempty"`
	Pod       *Reference       `json:"pod,omitempty"`
	Secret    *Reference       `json:"secret,omitempty"`
	Node      *Reference       `json:"node,omitempty"`
	WarnAfter *jwt.NumericDate `json:"warnafter,omitempty"`
}

type private struct {
	Cluster cluster `json:"kubernetes.io,omitempty"`
}

// Grant is what a token shall say.
type Grant struct {
	Account           *corev1.ServiceAccount
	Pod, Secret, Node *Reference
	Audiences         []string
	Lifetime          time.Duration
	// WarnAfter is set where the lifetime was stretched: after it the holder should have a new token.
	WarnAfter time.Duration
}

func (g Grant) claims(issuer string, now time.Time) (jwt.Claims, private) {
	standard := jwt.Claims{
		Issuer:    issuer,
		Subject:   apiserversa.MakeUsername(g.Account.Namespace, g.Account.Name),
		Audience:  g.Audiences,
		IssuedAt:  jwt.NewNumericDate(now),
		NotBefore: jwt.NewNumericDate(now),
		Expiry:    jwt.NewNumericDate(now.Add(g.Lifetime)),
		ID:        uuid.NewString(),
	}
	own := cluster{
		Namespace: g.Account.Namespace,
		Account:   Reference{Name: g.Account.Name, UID: g.Account.UID},
		Pod:       g.Pod, Secret: g.Secret, Node: g.Node,
	}
	if g.WarnAfter > 0 {
		own.WarnAfter = jwt.NewNumericDate(now.Add(g.WarnAfter))
	}
	return standard, private{Cluster: own}
}
