using System.Net.Sockets;

namespace Dmb.Transport;

/// <summary>Receives once at a time on a socket; its arguments are used again for the next receive.</summary>
internal abstract class SocketReceive() : SocketAsyncEventArgs(true)
{
    /// <summary>Begins to receive; into no memory it only waits until there is something.</summary>
    /// <returns>False if it is done already, so that <see cref="Complete"/> is not called.</returns>
    /// <exception cref="ObjectDisposedException">The socket is closed.</exception>
    public bool Begin(Socket socket, Memory<byte> buffer)
    {
        SetBuffer(buffer);
        return socket.ReceiveAsync(this);
    }

    /// <summary>
    /// Handles what was received, or why nothing was (<see cref="SocketAsyncEventArgs.SocketError"/>).
    /// </summary>
    protected abstract void Complete();

    /// <summary>Ends the connection after an exception of <see cref="Complete"/>.</summary>
    protected abstract void Fail(Exception failure);

    /// <summary>
    /// Called on a thread of the socket engine, which serves all connections: an exception there, such as
    /// <see cref="OutOfMemoryException"/>, ends this connection and not the process.
    /// </summary>
    protected sealed override void OnCompleted(SocketAsyncEventArgs e)
    {
        try
        {
            Complete();
        }
        catch (Exception failure)
        {
            Fail(failure);
        }
    }
}
