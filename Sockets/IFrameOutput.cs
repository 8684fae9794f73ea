namespace Dmb.Sockets;

/// <summary>
/// Where the frames of a session go: a socket, a response stream, or the responses of a client that polls. The session
/// is the only caller of <see cref="WriteAsync"/>, and never has two writes pending.
/// </summary>
/// <remarks>
/// An output need not take all that it is offered. What it leaves is offered again as soon as the write completes, and
/// then to the output that the session has by that time (<see cref="Session.SwapOutput"/>). So an output that polls
/// completes its write when the next GET has taken a response's worth of frames; and when the connection is upgraded,
/// the new output is set first and the pending write completes with 0: the rest goes out on the new one.
/// </remarks>
internal interface IFrameOutput
{
    /// <summary>Writes finished frames, whole ones from the start of the first.</summary>
    /// <param name="frames">At least one byte; borrowed until the write completes.</param>
    /// <returns>
    /// How many bytes were taken, always whole frames. 0 only from an output that has been replaced. An exception means
    /// that the connection is lost.
    /// </returns>
    ValueTask<int> WriteAsync(ReadOnlyMemory<byte> frames);

    /// <summary>
    /// Cuts the connection at once; a pending write fails. May be called on any thread and more than once.
    /// </summary>
    void Abort();
}
