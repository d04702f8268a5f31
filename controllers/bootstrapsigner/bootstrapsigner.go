// Package bootstrapsigner signs kube-public/cluster-info with the bootstrap
// tokens, so that whoever has a token can tell that what the ConfigMap says of
// the cluster is true.
//
// It watches that ConfigMap, and the Secrets of type bootstrap.kubernetes.io/token
// in kube-system, each by a cache of its own that holds no others. It owns the
// keys jws-kubeconfig-ID of the ConfigMap: there is one for each token that may
// sign and has not expired, a detached JSON Web Signature of the key kubeconfig.
// Where there is no such ConfigMap, there is nothing to sign.
package bootstrapsigner

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"coracle.dev/coracle/controllers/internal/bootstraptoken"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/narrow"
	"coracle.dev/coracle/controllers/internal/outcome"
)

const (
	kubeconfigKey   = "kubeconfig"
	signaturePrefix = "jws-kubeconfig-"
)

var clusterInfo = types.NamespacedName{Namespace: metav1.NamespacePublic, Name: "cluster-info"}

// Reconciler reconciles the ConfigMap.
type Reconciler struct {
	client              client.Client
	configMaps, secrets client.Reader
	now                 func() time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{client: mgr.GetClient(), now: moment.Now(mgr)}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	configMaps, err := narrow.Cache(mgr, &corev1.ConfigMap{}, metav1.ObjectNameField, clusterInfo.Name, clusterInfo.Namespace)
	if err != nil {
		return err
	}
	secrets, err := narrow.Cache(mgr, &corev1.Secret{}, "type", string(bootstraptoken.Type), metav1.NamespaceSystem)
	if err != nil {
		return err
	}
	r.configMaps, r.secrets = configMaps, secrets
	toInfo := handler.TypedEnqueueRequestsFromMapFunc(func(context.Context, *corev1.Secret) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: clusterInfo}}
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("bootstrap-signer-controller").
		WatchesRawSource(source.Kind(configMaps, &corev1.ConfigMap{}, &handler.TypedEnqueueRequestForObject[*corev1.ConfigMap]{})).
		WatchesRawSource(source.Kind(secrets, &corev1.Secret{}, toInfo)).
		WithOptions(outcome.Options(1, mgr)).
		Complete(r)
}

// Reconcile signs the ConfigMap.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	info := &corev1.ConfigMap{}
	if err := r.configMaps.Get(ctx, clusterInfo, info); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var list corev1.SecretList
	if err := r.secrets.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing bootstrap tokens: %w", err)
	}
	var tokens []bootstraptoken.Token
	next := time.Duration(0)
	for i := range list.Items {
		t, is := bootstraptoken.Parse(&list.Items[i])
		if !is || !t.Signs || t.Expired(r.now()) {
			continue
		}
		tokens = append(tokens, t)
		if left := t.Expires.Sub(r.now()); !t.Expires.IsZero() && (next == 0 || left < next) {
			next = left
		}
	}
	data, err := signed(info.Data, tokens)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !maps.Equal(data, info.Data) {
		info.Data = data
		if err := r.client.Update(ctx, info); err != nil {
			return outcome.Of(ctrl.Result{}, fmt.Errorf("signing %s: %w", clusterInfo, err))
		}
		klog.FromContext(ctx).Info("Signed what new nodes are told of the cluster", "tokens", len(tokens))
	}
	return ctrl.Result{RequeueAfter: next}, nil
}

// signed is the data of the ConfigMap with the signatures of these tokens, and no
// others.
func signed(data map[string]string, tokens []bootstraptoken.Token) (map[string]string, error) {
	out := maps.Clone(data)
	maps.DeleteFunc(out, func(k, _ string) bool { return strings.HasPrefix(k, signaturePrefix) })
	content, has := data[kubeconfigKey]
	if !has {
		return out, nil
	}
	for _, t := range tokens {
		signature, err := sign(content, t)
		if err != nil {
			return nil, fmt.Errorf("signing with token %s: %w", t.ID, err)
		}
		out[signaturePrefix+t.ID] = signature
	}
	return out, nil
}

// sign makes a compact JSON Web Signature without its content, of which the
// verifier has a copy.
func sign(content string, t bootstraptoken.Token) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		Key       string `json:"kid"`
	}{"HS256", t.ID})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	mac := hmac.New(sha256.New, []byte(t.ID+"."+t.Secret))
	mac.Write([]byte(encode(header) + "." + encode([]byte(content))))
	return encode(header) + ".." + encode(mac.Sum(nil)), nil
}
