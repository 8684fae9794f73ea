using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace Dmb.Sockets;

/// <summary>
/// What comes on a connection, in turns with the other connections. All is handled on the few threads that see it come, and a client that
/// sends faster than it is served would keep one of them for as long as it likes: every so often the rest of its messages wait in the pool.
/// </summary>
internal sealed class FairInput(PipeReader input) : PipeReader
{
    private const int TurnReads = 16;

    /// <summary>Whoever takes longer for so many reads waits for its client anyway, and lets the others in.</summary>
    private const int TurnMs = 50;

    private int _reads;
    private long _begun = Environment.TickCount64;

    public static void Use(IConnectionBuilder connections) => connections.Use(next => connection =>
    {
        connection.Transport = new DuplexPipe(new FairInput(connection.Transport.Input), connection.Transport.Output);
        return next(connection);
    });

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (++_reads < TurnReads)
        {
            return input.ReadAsync(cancellationToken);
        }

        var now = Environment.TickCount64;
        var isBusy = now - _begun < TurnMs;
        (_reads, _begun) = (0, now);
        return isBusy ? ReadLaterAsync(cancellationToken) : input.ReadAsync(cancellationToken);
    }

    public override bool TryRead(out ReadResult result) => input.TryRead(out result);

    public override void AdvanceTo(SequencePosition consumed) => input.AdvanceTo(consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => input.AdvanceTo(consumed, examined);

    public override void CancelPendingRead() => input.CancelPendingRead();

    public override void Complete(Exception? exception = null) => input.Complete(exception);

    public override ValueTask CompleteAsync(Exception? exception = null) => input.CompleteAsync(exception);

    private async ValueTask<ReadResult> ReadLaterAsync(CancellationToken cancellationToken)
    {
        await Task.Yield();
        return await input.ReadAsync(cancellationToken);
    }

    private sealed record DuplexPipe(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
