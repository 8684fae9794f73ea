using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace Dmb.Sockets;

/// <summary>
/// What comes on a connection, in turns with the other connections. All is handled on the few threads that see it come, and a client that
/// sends faster than it is served would keep one of them for as long as it likes: every so often the rest of its messages wait in the pool.
/// </summary>
internal sealed class FairInput(PipeReader input) : PipeReader
{
    /// <summary>Reads in a row, of one connection on one thread, after which the others have their turn.</summary>
    private const int TurnReads = 32;

    /// <summary>Whose turn it is on this thread.</summary>
    [ThreadStatic]
    private static FairInput? _turn;

    private int _reads;

    public static void Use(IConnectionBuilder connections) => connections.Use(next => connection =>
    {
        connection.Transport = new DuplexPipe(new FairInput(connection.Transport.Input), connection.Transport.Output);
        return next(connection);
    });

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (_turn != this)
        {
            // The thread came to another connection: nobody keeps it.
            (_turn, _reads) = (this, 0);
        }

        return ++_reads < TurnReads ? input.ReadAsync(cancellationToken) : ReadLaterAsync(cancellationToken);
    }

    public override bool TryRead(out ReadResult result) => input.TryRead(out result);

    public override void AdvanceTo(SequencePosition consumed) => input.AdvanceTo(consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => input.AdvanceTo(consumed, examined);

    public override void CancelPendingRead() => input.CancelPendingRead();

    public override void Complete(Exception? exception = null) => input.Complete(exception);

    public override ValueTask CompleteAsync(Exception? exception = null) => input.CompleteAsync(exception);

    private async ValueTask<ReadResult> ReadLaterAsync(CancellationToken cancellationToken)
    {
        _turn = null;
        await Task.Yield();
        return await input.ReadAsync(cancellationToken);
    }

    private sealed record DuplexPipe(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
