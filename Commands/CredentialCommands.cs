using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using Dmb.Access;
using Dmb.Routing;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Dmb.Commands;

/// <summary><c>dmb token</c> and <c>dmb key</c>: create credentials, without a broker.</summary>
internal static class CredentialCommands
{
    private const int SecretBytes = 16;
    private const double LifeSecondsMax = 100 * 365.25 * 86_400;

    public static Command CreateToken()
    {
        var sub = new Option<string>("--sub") { Description = "The user.", Required = true };
        var roles = new Option<string[]>("--role")
        {
            Description = "A room that is the user's, such as endpoint:1234; may be given several times.",
        };
        var life = new Option<string>("--for")
        {
            Description = "How long it is valid: 30s, 15m, 1h or 7d.",
            DefaultValueFactory = _ => "1h",
        };
        var admin = new Option<bool>("--admin") { Description = "The user may do everything." };
        var command = new Command(
            "token",
            "Make a user's token (JWT, HS256), signed with DMB_JWT_SECRET or DMB_JWT_SECRET_FILE."
        )
        {
            sub,
            roles,
            life,
            admin,
        };
        command.SetAction(parsed =>
        {
            Console.WriteLine(
                Token(
                    parsed.GetValue(sub)!,
                    parsed.GetValue(roles) ?? [],
                    Life(parsed.GetValue(life)!),
                    parsed.GetValue(admin)
                )
            );
            return 0;
        });
        return command;
    }

    public static Command CreateKey()
    {
        var name = new Argument<string>("NAME") { Description = "Whose it is: 1 to 64 of A-Z a-z 0-9 _ . -" };
        var scopes = new Argument<string>("SCOPES")
        {
            Description = "What it may do: some of read, publish, register, admin, with commas between them.",
        };
        var command = new Command("key", "Make a host's key, a line for DMB_KEYS or the file of DMB_KEYS_FILE.")
        {
            name,
            scopes,
        };
        command.SetAction(parsed =>
        {
            var secret = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(SecretBytes));
            var line = $"{parsed.GetValue(name)}:{secret}:{parsed.GetValue(scopes)}";
            try
            {
                HostKeys.Read(line);
            }
            catch (FormatException bad)
            {
                throw new CommandException($"{bad.Message}; a key is {HostKeys.Form}.", 2);
            }

            Console.WriteLine(line);
            return 0;
        });
        return command;
    }

    private static string Token(string sub, string[] roles, TimeSpan life, bool isAdmin)
    {
        if (!Names.IsUser(sub))
        {
            throw new CommandException($"--sub: '{sub}' is no user: 1 to 200 bytes without control characters.", 2);
        }

        if (Array.Find(roles, static role => !Names.IsRoom(role) && !Names.IsPattern(role)) is { } bad)
        {
            throw new CommandException(
                $"--role: '{bad}' is no room such as endpoint:1234, and no pattern of rooms.",
                2
            );
        }

        var claims = new Dictionary<string, object> { ["sub"] = sub };
        if (roles.Length > 0)
        {
            claims["roles"] = roles;
        }

        if (isAdmin)
        {
            claims["admin"] = true;
        }

        var now = TimeProvider.System.GetUtcNow().UtcDateTime;
        return new JsonWebTokenHandler { SetDefaultTimesOnTokenCreation = false }.CreateToken(
            new SecurityTokenDescriptor
            {
                Claims = claims,
                IssuedAt = now,
                Expires = now + life,
                Issuer = Variable("DMB_JWT_ISSUER"),
                Audience = Variable("DMB_JWT_AUDIENCE"),
                SigningCredentials = new SigningCredentials(Secret(), SecurityAlgorithms.HmacSha256),
            }
        );
    }

    private static SymmetricSecurityKey Secret()
    {
        try
        {
            return UserTokens.ReadSecret(
                Variable("DMB_JWT_SECRET")
                    ?? (
                        Variable("DMB_JWT_SECRET_FILE") is { } file
                            ? File.ReadAllText(file)
                            : throw new CommandException(
                                "Set DMB_JWT_SECRET or DMB_JWT_SECRET_FILE to the broker's secret; "
                                    + "`openssl rand -hex 32` makes one.",
                                2
                            )
                    )
            );
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            var setting = Variable("DMB_JWT_SECRET") is null ? "DMB_JWT_SECRET_FILE" : "DMB_JWT_SECRET";
            throw new CommandException($"{setting}: {e.Message.TrimEnd('.')}.", 2);
        }
    }

    private static TimeSpan Life(string text)
    {
        var unit = text.Length > 0 ? text[^1] : ' ';
        return
            double.TryParse(
                text.AsSpan(0, Math.Max(text.Length - 1, 0)),
                NumberStyles.AllowDecimalPoint,
                CultureInfo.InvariantCulture,
                out var count
            )
            && count
                * unit switch
                {
                    's' => 1,
                    'm' => 60,
                    'h' => 3_600,
                    'd' => 86_400,
                    _ => 0,
                }
                is > 0
                    and <= LifeSecondsMax
                    and var seconds
            ? TimeSpan.FromSeconds(seconds)
            : throw new CommandException(
                $"--for: '{text}' is no time such as 30s, 15m, 1h or 7d, of 100 years at most.",
                2
            );
    }

    private static string? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
