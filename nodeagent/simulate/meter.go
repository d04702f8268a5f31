package simulate

import (
	"sync"
	"time"
)

// meter adds up processor time, of which only the rate is known.
type meter struct {
	mu   sync.Mutex // of what follows
	last map[string]reading
}

type reading struct {
	started, at time.Time
	spent       time.Duration
}

// meterForget is how long a reading is kept that nobody asks for.
const meterForget = 10 * time.Minute

// read is the processor time that something has spent which spends at a rate now. What it spent before it
// was first asked for is taken to have been at the same rate.
func (m *meter) read(key string, cores float64, started, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, known := m.last[key]
	if !known || !old.started.Equal(started) {
		old = reading{started: started, at: started}
	}
	if now.After(old.at) {
		old.spent += time.Duration(cores * float64(now.Sub(old.at)))
		old.at = now
	}
	if m.last == nil {
		m.last = map[string]reading{}
	}
	m.last[key] = old
	return old.spent
}

// forget drops readings of what is gone.
func (m *meter) forget(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, r := range m.last {
		if now.Sub(r.at) > meterForget {
			delete(m.last, key)
		}
	}
}
