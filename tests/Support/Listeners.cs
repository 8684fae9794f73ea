namespace Dmb.Tests.Support;

/// <summary>On each of several nodes one listener for each of several sets of rooms.</summary>
public sealed class Listeners(IReadOnlyList<Listener> all) : IAsyncDisposable
{
    public IReadOnlyList<Listener> All => all;

    public static async Task<Listeners> JoinAsync(IEnumerable<NodeProcess> nodes, params string[][] sets) =>
        new(await Task.WhenAll(nodes.SelectMany(node => sets.Select(set => Listener.JoinAsync(node, set)))));

    /// <summary>
    /// Sends a last message through each node that they listen on, and waits until all have all of them: what was on
    /// its way before has come then. Gives those that a listener never got.
    /// </summary>
    public static async Task<string[]> FenceAsync(IReadOnlyCollection<Listener> listeners)
    {
        string[] rooms =
        [
            .. listeners
                .SelectMany(listener => listener.Rooms)
                .Where(room => room.Contains(':', StringComparison.Ordinal))
                .Distinct(),
        ];
        var fences = new List<Numbered>();
        var failed = new List<string>();
        foreach (var node in listeners.Select(listener => listener.Node).Distinct())
        {
            var fence = new Numbered($"fence at {node.Url.Port}", listeners.First().Received.Length);
            var (status, body) = await node.PushAsync("call", fence.Data(rooms));
            fences.Add(fence);
            if (status != 200 || body.Contains("degraded", StringComparison.Ordinal))
            {
                failed.Add($"fence at {node.Url}: {status} {body}");
            }
        }

        var came = await Task.WhenAll(listeners.Select(listener => listener.HasAsync(fences)));
        return [.. failed, .. listeners.Where((_, i) => !came[i]).Select(listener => $"no fence came to {listener}")];
    }

    /// <summary>Completes when the last that all were told of the backplane is this.</summary>
    public Task BackplaneAsync(string state) => Task.WhenAll(all.Select(listener => listener.BackplaneAsync(state)));

    /// <summary>Those on this node.</summary>
    public IEnumerable<Listener> On(NodeProcess node) => all.Where(listener => listener.Node == node);

    public async ValueTask DisposeAsync()
    {
        foreach (var listener in all)
        {
            await listener.DisposeAsync();
        }
    }
}
