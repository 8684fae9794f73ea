using Dmb.Routing;

namespace Dmb.Tests.Routing;

/// <summary>A backplane that is away, for tests of what it is asked.</summary>
internal abstract class Away : IBackplane
{
    public bool IsCurrent => false;

    public virtual ValueTask<PublishOutcome> PublishAsync(Envelope envelope) => throw new NotSupportedException();

    public virtual ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> rooms) =>
        throw new NotSupportedException();

    public virtual ValueTask<string?> FirstIdAsync(string key, string id) => throw new NotSupportedException();

    public ValueTask SubscribeAsync(string room) => ValueTask.CompletedTask;

    public ValueTask ShareEventAsync(string name) => throw new NotSupportedException();

    public ValueTask<IReadOnlyList<int>> CountKeptAsync(IReadOnlyList<string> rooms) =>
        throw new NotSupportedException();

    public ValueTask ClearHistoryAsync(string room) => throw new NotSupportedException();

    public ValueTask<int> CountAsync(string room) => throw new NotSupportedException();
}
