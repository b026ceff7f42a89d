import type { PageTexts } from './texts.ts';

export const pt: PageTexts = {
  signIn: 'Entrar',
  goToApp: 'Ir para a aplicação',
  continue: 'Continuar',
  closeWindow: 'Fechar esta janela',
  whatDoesThisMean: 'O que isto significa?',
  signingIn: 'Início de sessão',
  signedIn: 'Sessão iniciada',
  signingOut: 'Fim de sessão',
  oneMoment: 'Um momento…',
  openingApp: 'Abertura da aplicação…',
  signedOutTitle: 'A sessão foi encerrada',
  signedOutText: 'Para voltar a usar a aplicação, entre novamente.',
  signedOut: 'Sessão encerrada',
  popupTitle: 'A sessão foi iniciada',
  popupText: 'Pode fechar esta janela.',
  details: 'Detalhes',
  code: 'Código',
  request: 'Pedido',
  errors: {
    login_required: { title: 'Entre para continuar', text: 'É preciso iniciar sessão para ver esta página.' },
    session_expired: { title: 'Entre novamente', text: 'A sua sessão terminou.' },
    step_up_required: {
      title: 'Confirme a sua identidade',
      text: 'É necessário um início de sessão mais seguro ou mais recente. Entre novamente para continuar.',
    },
    repeat_required: { title: 'Tente novamente', text: 'Os dados enviados não chegaram. Envie mais uma vez.' },
    navigation_required: {
      title: 'Abra a página de início de sessão',
      text: 'Só é possível entrar numa janela ou num separador à parte.',
    },
    request_forbidden: {
      title: 'Pedido recusado',
      text: 'Não vem da própria aplicação. Abra a aplicação e tente novamente a partir dela.',
    },
    access_denied: {
      title: 'Sem permissão',
      text: 'A sua conta não tem a permissão necessária. Se a deveria ter, fale com o suporte.',
    },
    request_invalid: {
      title: 'Pedido inválido',
      text: 'Não pode ser processado assim. Volte à aplicação e tente novamente.',
    },
    login_transaction_invalid: {
      title: 'Não é possível concluir este início de sessão',
      text: 'Já foi concluído, demorou demasiado ou foi começado em outro navegador. Entre novamente.',
    },
    return_to_invalid: {
      title: 'Este link de início de sessão não funciona',
      text: 'Não conduz a uma página desta aplicação. Abra a aplicação e entre a partir dela.',
    },
    logout_sid_invalid: {
      title: 'Este link de fim de sessão não funciona',
      text: 'Pertence a outra sessão. A sua sessão continua aberta: saia a partir da aplicação.',
    },
    authorization_failed: {
      title: 'Não foi possível entrar',
      text: 'Tente novamente; se não resolver, fale com o suporte.',
    },
    provider_unavailable: {
      title: 'Neste momento não é possível entrar',
      text: 'O serviço de identidade não pode ser usado agora. Tente novamente em alguns instantes.',
    },
    store_unavailable: {
      title: 'A aplicação está indisponível neste momento',
      text: 'Agora não é possível verificar a sua sessão. Ela não foi encerrada: tente novamente em alguns instantes.',
    },
    upstream_unavailable: {
      title: 'A aplicação está indisponível neste momento',
      text: 'Um servidor desta aplicação está inacessível. Tente novamente em alguns instantes.',
    },
    upstream_timeout: {
      title: 'O tempo de espera esgotou-se',
      text: 'Um servidor desta aplicação não respondeu a tempo. Tente novamente em alguns instantes.',
    },
    route_not_found: { title: 'Página não encontrada', text: 'Não há nada neste endereço.' },
    method_not_allowed: {
      title: 'Isso não é possível aqui',
      text: 'Este endereço não aceita pedidos deste tipo.',
    },
    body_too_large: {
      title: 'O envio é demasiado grande',
      text: 'Foram enviados mais dados do que esta aplicação aceita.',
    },
    too_many_requests: {
      title: 'Demasiados pedidos',
      text: 'A aplicação está muito ocupada neste momento. Tente novamente em alguns instantes.',
    },
    internal_error: {
      title: 'Ocorreu um erro',
      text: 'Tente novamente. Se o problema persistir, informe ao suporte o número do pedido abaixo.',
    },
    setup: {
      title: 'O início de sessão não está bem configurado',
      text: 'Isto não pode ser resolvido por quem usa a aplicação. Avise os responsáveis por esta aplicação.',
    },
    sign_in_too_weak: {
      title: 'Este início de sessão não é suficiente',
      text: 'O serviço de início de sessão não verificou tudo o que a aplicação exige para esta ação. Nada mudou: volte à aplicação. Se voltar a acontecer, fale com o suporte.',
    },
  },
};
