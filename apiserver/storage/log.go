package storage

import (
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// logCore passes etcd's log to klog: errors always, warnings at level 2, the rest at level 4. Of the
// warnings, most are about a cluster that has peers.
type logCore struct {
	logger klog.Logger
}

// Enabled implements zapcore.LevelEnabler.
func (c *logCore) Enabled(l zapcore.Level) bool {
	switch {
	case l < zapcore.InfoLevel:
		return c.logger.V(6).Enabled()
	case l < zapcore.WarnLevel:
		return c.logger.V(4).Enabled()
	case l < zapcore.ErrorLevel:
		return c.logger.V(2).Enabled()
	}
	return true
}

// harmless are errors that etcd reports of every new database, and then mends.
var harmless = map[string]bool{"failed to update storage version": true}

// With implements zapcore.Core.
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{logger: c.logger.WithValues(pairs(fields)...)}
}

// Check implements zapcore.Core.
func (c *logCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	switch {
	case e.Level >= zapcore.ErrorLevel && !harmless[e.Message]:
		c.logger.Error(nil, e.Message, pairs(fields)...)
	case e.Level >= zapcore.WarnLevel:
		c.logger.V(2).Info(e.Message, pairs(fields)...)
	default:
		c.logger.V(4).Info(e.Message, pairs(fields)...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c *logCore) Sync() error { return nil }

func pairs(fields []zapcore.Field) []any {
	m := zapcore.NewMapObjectEncoder()
	out := make([]any, 0, 2*len(fields))
	for _, f := range fields {
		f.AddTo(m)
	}
	for k, v := range m.Fields {
		out = append(out, k, v)
	}
	return out
}
