using System.Collections.Concurrent;

namespace Dmb.Tests.Support;

/// <summary>What a test has started: disposed of with the test, the last one first. Thread-safe.</summary>
public sealed class Started : IAsyncDisposable
{
    private readonly ConcurrentStack<IAsyncDisposable> _all = [];

    public T Add<T>(T one)
        where T : IAsyncDisposable
    {
        _all.Push(one);
        return one;
    }

    public async ValueTask DisposeAsync()
    {
        while (_all.TryPop(out var one))
        {
            await one.DisposeAsync();
        }
    }
}
