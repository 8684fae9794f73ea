using Dmb.Routing;

namespace Dmb.Bench.Micro;

/// <summary>Takes envelopes as a session does, and writes nothing.</summary>
internal class CountingSubscriber : Subscriber
{
    private bool _flushing;

    public override bool Queue(Envelope envelope, int room)
    {
        if (_flushing)
        {
            return false;
        }

        return _flushing = true;
    }

    public override void Flush() => _flushing = false;

    public override bool Queue(string @event, ReadOnlySpan<byte> data) => false;
}
