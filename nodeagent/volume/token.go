package volume

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
)

// A token is replaced when less than a fifth of its life is left, or after a
// day.
const (
	maxTokenAge  = 24 * time.Hour
	refreshAfter = 0.8
	maxJitter    = 10 * time.Second
	// retryToken is how soon a replacement that failed is tried again.
	retryToken = time.Minute
)

// tokens keeps the service account tokens of the pods of this node.
type tokens struct {
	client kubernetes.Interface
	now    func() time.Time

	mu    sync.Mutex // guards cache
	cache map[tokenKey]*token
}

type tokenKey struct {
	pod      types.UID
	audience string
	ttl      int64
}

type token struct {
	value   string
	refresh time.Time
	expires time.Time
}

// get gives a token that need not be replaced yet. While the API server
// cannot be asked, the old one serves until it expires.
func (t *tokens) get(ctx context.Context, pod *corev1.Pod, p *corev1.ServiceAccountTokenProjection) (string, error) {
	key := tokenKey{pod.UID, p.Audience, ptr.Deref(p.ExpirationSeconds, 3600)}
	now := t.now()
	t.mu.Lock()
	cached := t.cache[key]
	t.mu.Unlock()
	if cached != nil && now.Before(cached.refresh) {
		return cached.value, nil
	}
	fresh, err := t.request(ctx, pod, key)
	if err != nil {
		if cached != nil && now.Before(cached.expires) {
			klog.FromContext(ctx).Error(err, "Could not replace a service account token yet", "pod", klog.KObj(pod))
			t.mu.Lock()
			cached.refresh = now.Add(retryToken)
			t.mu.Unlock()
			return cached.value, nil
		}
		return "", err
	}
	t.mu.Lock()
	t.cache[key] = fresh
	t.mu.Unlock()
	return fresh.value, nil
}

func (t *tokens) request(ctx context.Context, pod *corev1.Pod, key tokenKey) (*token, error) {
	asked := t.now()
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To(key.ttl),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if key.audience != "" {
		req.Spec.Audiences = strings.Split(key.audience, ",")
	}
	res, err := t.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, req, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting token of service account %s/%s: %w", pod.Namespace, pod.Spec.ServiceAccountName, err)
	}
	expires := res.Status.ExpirationTimestamp.Time
	life := min(time.Duration(float64(expires.Sub(asked))*refreshAfter), maxTokenAge)
	return &token{
		value:   res.Status.Token,
		expires: expires,
		refresh: asked.Add(life - time.Duration(rand.Int64N(int64(maxJitter)))),
	}, nil
}

// next is when the pod's first token is to be replaced; zero without tokens.
func (t *tokens) next(pod types.UID) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first time.Time
	for k, v := range t.cache {
		if k.pod == pod && (first.IsZero() || v.refresh.Before(first)) {
			first = v.refresh
		}
	}
	return first
}

func (t *tokens) forget(pod types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.cache {
		if k.pod == pod {
			delete(t.cache, k)
		}
	}
}
