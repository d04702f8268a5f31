package pull

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/spec"
)

// Reasons that a container waits for its image.
const (
	ReasonPull       = "ErrImagePull"
	ReasonBackOff    = "ImagePullBackOff"
	ReasonNeverPull  = "ErrImageNeverPull"
	ReasonInvalid    = "InvalidImageName"
	ReasonInspection = "ImageInspectError"
)

// Back-off of failed pulls.
const (
	firstBackoff = 10 * time.Second
	maxBackoff   = 5 * time.Minute
	// forget is how long a failure is remembered after its back-off ended.
	forget = 2 * maxBackoff
)

// Error is a failure as it is shown to the user.
type Error struct {
	Reason, Message string
	// RetryAt is when to ask again.
	RetryAt time.Time
}

func (e *Error) Error() string { return e.Reason }

// Image is an image that is on the node.
type Image struct {
	// ID is what containers are made from.
	ID   string
	User spec.ImageUser
}

// Recorder takes events about a container.
type Recorder interface {
	ContainerEvent(pod *corev1.Pod, container, kind, reason, message string)
}

// Config is what a Puller needs.
type Config struct {
	Images  runtimev1.ImageServiceClient
	Secrets Secrets
	Events  Recorder
	// Parallel is how many pulls run at a time; 0 means 4.
	Parallel int
	// Now is the clock; nil means the real one.
	Now func() time.Time
}

// Secrets looks up pull secrets.
type Secrets interface {
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Puller pulls images.
type Puller struct {
	Config
	slots chan struct{}

	mu       sync.Mutex // guards failures
	failures map[key]*failure
}

type key struct {
	pod   types.UID
	image string
}

type failure struct {
	delay time.Duration
	until time.Time
	cause string
}

// New makes a Puller.
func New(c Config) *Puller {
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Puller{Config: c, slots: make(chan struct{}, c.Parallel), failures: map[key]*failure{}}
}

// Request names what is wanted.
type Request struct {
	Pod       *corev1.Pod
	Container string
	Image     string
	Policy    corev1.PullPolicy
	Sandbox   *runtimev1.PodSandboxConfig
}

// Ensure gives the image, pulling it if need be. The error is an *Error
// unless the context ended.
func (p *Puller) Ensure(ctx context.Context, r Request) (Image, error) {
	name, err := Normalize(r.Image)
	if err != nil {
		message := fmt.Sprintf("Failed to apply default image tag %q: %v", r.Image, err)
		p.event(r, corev1.EventTypeWarning, "InspectFailed", message)
		return Image{}, &Error{Reason: ReasonInvalid, Message: message}
	}
	if r.Policy != corev1.PullAlways {
		image, found, err := p.present(ctx, name)
		if err != nil {
			message := fmt.Sprintf("Failed to inspect image %q: %v", r.Image, err)
			p.event(r, corev1.EventTypeWarning, "InspectFailed", message)
			return Image{}, &Error{Reason: ReasonInspection, Message: message}
		}
		if found {
			p.event(r, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", r.Image))
			return image, nil
		}
		if r.Policy == corev1.PullNever {
			message := fmt.Sprintf("Container image %q is not present with pull policy of Never", r.Image)
			p.event(r, corev1.EventTypeWarning, "ErrImageNeverPull", message)
			return Image{}, &Error{Reason: ReasonNeverPull, Message: message}
		}
	}
	k := key{r.Pod.UID, name}
	if err := p.backingOff(r, k); err != nil {
		return Image{}, err
	}
	image, err := p.pull(ctx, r, name)
	if err != nil && ctx.Err() != nil {
		return Image{}, ctx.Err()
	}
	return image, p.settle(r, k, err)
}

func (p *Puller) event(r Request, kind, reason, message string) {
	p.Events.ContainerEvent(r.Pod, r.Container, kind, reason, message)
}

func (p *Puller) backingOff(r Request, k key) error {
	p.mu.Lock()
	f := p.failures[k]
	var until time.Time
	var cause string
	if f != nil {
		until, cause = f.until, f.cause
	}
	p.mu.Unlock()
	if !until.After(p.Now()) {
		return nil
	}
	message := fmt.Sprintf("Back-off pulling image %q", r.Image)
	p.event(r, corev1.EventTypeNormal, "BackOff", message)
	return &Error{Reason: ReasonBackOff, Message: message + ": " + ReasonPull + ": " + cause, RetryAt: until}
}

// settle keeps the books of back-off.
func (p *Puller) settle(r Request, k key, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.failures, k)
		return nil
	}
	now := p.Now()
	f := p.failures[k]
	if f == nil || now.Sub(f.until) > forget {
		f = &failure{delay: firstBackoff}
		p.failures[k] = f
	} else {
		f.delay = min(2*f.delay, maxBackoff)
	}
	f.until, f.cause = now.Add(f.delay), err.Error()
	return &Error{Reason: ReasonPull, Message: err.Error(), RetryAt: f.until}
}

// Forget drops what is remembered about a pod.
func (p *Puller) Forget(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.failures {
		if k.pod == pod {
			delete(p.failures, k)
		}
	}
}

func (p *Puller) present(ctx context.Context, name string) (Image, bool, error) {
	res, err := p.Images.ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: name}})
	if err != nil {
		return Image{}, false, err
	}
	if res.Image == nil {
		return Image{}, false, nil
	}
	return Image{ID: res.Image.Id, User: userOf(res.Image)}, true, nil
}

// userOf is the user that an image runs as: root, if it does not say.
func userOf(i *runtimev1.Image) spec.ImageUser {
	switch {
	case i.Uid != nil:
		return spec.ImageUser{UID: &i.Uid.Value}
	case i.Username != "":
		return spec.ImageUser{Name: i.Username}
	}
	return spec.ImageUser{UID: new(int64)}
}

func (p *Puller) pull(ctx context.Context, r Request, name string) (Image, error) {
	asked := p.Now()
	p.event(r, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", r.Image))
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Image{}, ctx.Err()
	}
	if r.Policy == corev1.PullIfNotPresent {
		if image, found, err := p.present(ctx, name); err == nil && found {
			return image, nil
		}
	}
	begun := p.Now()
	if err := p.pullWithCredentials(ctx, r, name); err != nil {
		p.event(r, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", r.Image, err))
		return Image{}, err
	}
	now := p.Now()
	res, err := p.Images.ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: name}})
	if err != nil {
		return Image{}, fmt.Errorf("inspecting image: %w", err)
	}
	if res.Image == nil {
		return Image{}, errors.New("image is missing after it was pulled")
	}
	p.event(r, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %v bytes.",
		r.Image, now.Sub(begun).Truncate(time.Millisecond), now.Sub(asked).Truncate(time.Millisecond), res.Image.Size))
	image, _, err := p.present(ctx, name)
	return image, err
}

// pullWithCredentials tries each credential that fits the image, or none if
// there is none.
func (p *Puller) pullWithCredentials(ctx context.Context, r Request, name string) error {
	ring := p.keyring(ctx, r.Pod)
	auths := ring.lookup(name)
	if len(auths) == 0 {
		auths = []*runtimev1.AuthConfig{nil}
	}
	var all []error
	for _, auth := range auths {
		_, err := p.Images.PullImage(ctx, &runtimev1.PullImageRequest{
			Image: &runtimev1.ImageSpec{Image: name, UserSpecifiedImage: r.Image}, Auth: auth, SandboxConfig: r.Sandbox,
		})
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// Normalize writes an image name in full: registry, path, and tag or digest.
func Normalize(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("couldn't parse image name %q: %w", image, err)
	}
	return reference.TagNameOnly(named).String(), nil
}
