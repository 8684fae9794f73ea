using Dmb.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Dmb.Connections;

/// <summary>
/// A connection that the server's stop doesn't end at once: a request that was already on its way is read and answered. Without it, one
/// that is sent on a new connection just before the stop gets no answer, and libcurl sends it again.
/// </summary>
internal sealed class LastWord : IConnectionLifetimeNotificationFeature, IDisposable
{
    private readonly CancellationTokenSource _end;

    private readonly CancellationTokenRegistration _asked;

    private LastWord(Drain drain, CancellationToken asked)
    {
        _end = CancellationTokenSource.CreateLinkedTokenSource(drain.IdleEnd);

        // The server takes no new connections when it asks those there are to end.
        _asked = asked.Register(static drain => ((Drain)drain!).EndIdleSoon(), drain);
    }

    /// <summary>Cancelled when no further request is to be read.</summary>
    public CancellationToken ConnectionClosedRequested
    {
        get => _end.Token;
        set => throw new NotSupportedException();
    }

    /// <summary>Makes the drain, and not the server, end the connections without a request.</summary>
    public static void Use(IConnectionBuilder connections)
    {
        var drain = connections.ApplicationServices.GetRequiredService<Drain>();
        connections.Use(next => async connection =>
        {
            var server = connection.Features.Get<IConnectionLifetimeNotificationFeature>();
            using var last = new LastWord(drain, server?.ConnectionClosedRequested ?? default);
            connection.Features.Set<IConnectionLifetimeNotificationFeature>(last);
            await next(connection);
        });
    }

    public void RequestClose() => _end.Cancel();

    public void Dispose()
    {
        _asked.Dispose();
        _end.Dispose();
    }
}
